/**
 * What goes over the wire, as types. Values and fields are only ever added: code that reads these
 * ignores what it does not know.
 *
 * @module
 */

/**
 * @typedef {object} Sender
 * @property {string} id `#agent` for the agent.
 * @property {string} [name]
 * @property {"user" | "agent" | "system"} kind
 */

/**
 * @typedef {object} Usage
 * @property {string} modelId
 * @property {number} inputTokens
 * @property {number} outputTokens
 */

/** @typedef {"stop" | "length" | "cancelled" | "filtered"} FinishReason */

/**
 * What an event's `data` may hold; which fields are there depends on its `type`.
 *
 * @typedef {object} EventFields
 * @property {string} [text]
 * @property {number} [replyTo]
 * @property {Record<string, unknown>} [metadata]
 * @property {number} [generation]
 * @property {FinishReason} [finishReason]
 * @property {Usage} [usage]
 * @property {boolean} [redacted]
 * @property {number} [target]
 * @property {string} [emoji]
 * @property {string} [userId]
 * @property {"owner" | "member"} [role]
 * @property {string} [name]
 * @property {Partial<Agent>} [agent]
 * @property {string} [reason]
 * @property {string} [callId]
 * @property {string} [tool] `server.tool`.
 * @property {Record<string, unknown>} [arguments] All of them; empty once `redacted`.
 * @property {ApprovalRule} [approval]
 * @property {string} [expiresAt] When it is too late to decide.
 * @property {"approved" | "denied" | "expired" | "cancelled"} [decision]
 * @property {"ok" | "error" | "unknown"} [outcome]
 * @property {string} [result] Its beginning where `truncated`.
 * @property {boolean} [truncated]
 */

/**
 * Who may decide whether a call is made: nobody has to, any member, who asked the question, an owner.
 *
 * @typedef {"none" | "anyone" | "requester" | "owner"} ApprovalRule
 */

/** @typedef {EventFields & Record<string, unknown>} EventData */

/**
 * An entry of a channel's log.
 *
 * @typedef {object} ChatEvent
 * @property {string} channelId
 * @property {number} seq 1, 2, 3 … in each channel.
 * @property {string} type One of the contract's, or one that a newer server knows.
 * @property {string} createdAt RFC 3339, UTC.
 * @property {Sender} sender
 * @property {string} [clientMessageId]
 * @property {EventData} data
 */

/**
 * A piece of a reply while it is written.
 *
 * @typedef {object} Delta
 * @property {"delta"} type
 * @property {string} channelId
 * @property {number} replyTo The question's `seq`.
 * @property {number} generation
 * @property {number} index
 * @property {string} text
 * @property {boolean} [snapshot] The text replaces all before it.
 */

/**
 * @typedef {object} TypingUpdate
 * @property {"typing"} type
 * @property {string} channelId
 * @property {string} userId
 * @property {boolean} typing
 */

/**
 * @typedef {object} PresenceUpdate
 * @property {"presence"} type
 * @property {string} channelId
 * @property {string} userId
 * @property {boolean} online
 */

/**
 * @typedef {object} ReadUpdate
 * @property {"read"} type
 * @property {string} channelId
 * @property {string} userId
 * @property {number} seq
 */

/**
 * Any frame of the server, before it is known which.
 *
 * @typedef {Record<string, unknown> & {type?: unknown, requestId?: unknown, channelId?: unknown}} Frame
 */

/**
 * @typedef {object} Agent
 * @property {"always" | "mention" | "off"} mode
 * @property {string} modelId
 * @property {string} [systemPrompt] Shown to owners only.
 * @property {number} [maxTokens]
 * @property {number} [temperature]
 * @property {string[]} [tools] What it may call: `server.tool`, or `server.*`.
 * @property {Record<string, ApprovalRule>} [approval] By tool, where it is stricter than the deployment's.
 */

/**
 * A tool that the deployment offers. What it says of itself is its server's word.
 *
 * @typedef {object} Tool
 * @property {string} name `server.tool`.
 * @property {string} [title]
 * @property {string} [description]
 * @property {Record<string, unknown>} inputSchema A JSON Schema of its arguments.
 * @property {ApprovalRule} approval The deployment's rule: a channel may have a stricter one.
 * @property {boolean} readOnly
 * @property {boolean} idempotent
 */

/** @typedef {{[Key in keyof Agent]?: Agent[Key] | null}} AgentChanges */

/**
 * @typedef {object} Channel
 * @property {string} channelId
 * @property {string} name
 * @property {string} createdAt
 * @property {string} createdBy
 * @property {"owner" | "member"} role The caller's.
 * @property {number} memberCount
 * @property {number} lastSeq
 * @property {string} [lastEventAt]
 * @property {number} readSeq The caller's.
 * @property {number} unreadCount 100 means 100 or more.
 * @property {Agent} agent
 */

/**
 * @typedef {object} Member
 * @property {string} userId
 * @property {string} [name]
 * @property {"owner" | "member"} role
 * @property {string} joinedAt
 * @property {number} readSeq
 */

/**
 * A message with its edits, deletion and reactions applied.
 *
 * @typedef {object} Message
 * @property {string} channelId
 * @property {number} seq
 * @property {string} createdAt
 * @property {string} [editedAt]
 * @property {string} [deletedAt]
 * @property {Sender} sender
 * @property {string} text
 * @property {number} [replyTo]
 * @property {Record<string, unknown>} [metadata]
 * @property {Record<string, string[]>} reactions
 * @property {number} [generation]
 * @property {FinishReason} [finishReason]
 * @property {Usage} [usage]
 */

/**
 * A reply that has not ended.
 *
 * @typedef {object} Generation
 * @property {number} replyTo
 * @property {number} generation
 * @property {"queued" | "running" | "waiting"} status
 * @property {string} startedAt
 */

/**
 * @typedef {object} EventPage
 * @property {ChatEvent[]} items Ascending, without a gap.
 * @property {number} lastSeq
 * @property {boolean} hasMore
 */

/**
 * @template Item
 * @typedef {object} Page
 * @property {Item[]} items
 * @property {string | null} nextCursor
 */

/**
 * An RFC 9457 problem.
 *
 * @typedef {object} Problem
 * @property {string} [type]
 * @property {string} [title]
 * @property {number} [status]
 * @property {string} [detail]
 * @property {{field: string, message: string}[]} [errors]
 * @property {string} [decision] Where a call was decided before.
 * @property {string} [decidedBy]
 */

export {};
