"""Every operation of the API, as the document describes it."""

from collections.abc import Sequence

from commons.schemas.channel import Channel, Member
from commons.schemas.event import EventPage, MessageCreated, ToolDecided
from commons.schemas.message import Message, PostMessage
from commons.services.tickets import Ticket
from rest_api.description import examples
from rest_api.description.operation import Body, Operation, Success
from rest_api.schemas import (
    MAX_IDEMPOTENCY_KEY,
    CancelGenerations,
    ChannelPage,
    CreateChannel,
    DecideCall,
    EditMessage,
    EventsQuery,
    Health,
    MarkRead,
    Me,
    MemberPage,
    MessagePage,
    MessagesQuery,
    OpenGenerationList,
    PageQuery,
    PresencePage,
    PutMember,
    ToolList,
    UpdateChannel,
    UsagePage,
    UsageQuery,
)

_CHANNEL = "/v1/channels/{channelId}"
_MEMBER = _CHANNEL + "/members/{userId}"
_MESSAGE = _CHANNEL + "/messages/{seq}"
_REACTION = _MESSAGE + "/reactions/{emoji}"

_channel_body = Body(schema=Channel, example=examples.CHANNEL)
_event_body = Body(schema=MessageCreated, example=examples.EVENT)
_done = Success(status=204, description="Done.")
_accepted = Success(
    status=202,
    description="Accepted: it happens within two seconds.",
    body=Body(schema="Accepted", example={}),
)

OPERATIONS: Sequence[Operation] = (
    # Channels
    Operation(
        operation_id="createChannel",
        method="post",
        path="/v1/channels",
        tag="Channels",
        summary="Create a channel",
        description="The caller is its owner. Creation is no event: `lastSeq` is 0.",
        headers=[
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key again from the same user within 24 hours makes no "
                "other channel.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_IDEMPOTENCY_KEY,
                },
            }
        ],
        request=Body(schema=CreateChannel, example={"name": "Release 2.0", "members": ["bob"]}),
        successes=[
            Success(status=201, description="The channel was created.", body=_channel_body),
            Success(
                status=200,
                description="The channel that this `Idempotency-Key` made before.",
                body=_channel_body,
            ),
        ],
        errors=[409],
    ),
    Operation(
        operation_id="listChannels",
        method="get",
        path="/v1/channels",
        tag="Channels",
        summary="List the caller's channels",
        description="In the order of their ids; `lastEventAt` lets a client sort them by activity.",
        query=PageQuery,
        successes=[
            Success(
                status=200,
                description="A page of channels.",
                body=Body(
                    schema=ChannelPage,
                    example={"items": [examples.CHANNEL], "nextCursor": None},
                ),
            )
        ],
        errors=[400],
    ),
    Operation(
        operation_id="getChannel",
        method="get",
        path=_CHANNEL,
        tag="Channels",
        summary="Get a channel",
        description="As the caller sees it: `role`, `readSeq` and `unreadCount` are the caller's.",
        successes=[Success(status=200, description="The channel.", body=_channel_body)],
    ),
    Operation(
        operation_id="updateChannel",
        method="patch",
        path=_CHANNEL,
        tag="Channels",
        summary="Change a channel's name or agent",
        description="Owners only. The agent's fields are merged; null clears one.",
        request=Body(
            schema=UpdateChannel, example={"name": "Release 2.1", "agent": {"mode": "mention"}}
        ),
        successes=[Success(status=200, description="The channel.", body=_channel_body)],
        errors=[403],
    ),
    Operation(
        operation_id="deleteChannel",
        method="delete",
        path=_CHANNEL,
        tag="Channels",
        summary="Delete a channel",
        description="Owners only. From then on the channel is 404 for everyone.",
        successes=[_done],
        errors=[403],
    ),
    Operation(
        operation_id="setReadMark",
        method="put",
        path=_CHANNEL + "/read",
        tag="Channels",
        summary="Move the caller's read mark",
        description="A mark never moves back; asked to, it stays.",
        request=Body(schema=MarkRead, example={"seq": 12}),
        successes=[_done],
    ),
    Operation(
        operation_id="getPresence",
        method="get",
        path=_CHANNEL + "/presence",
        tag="Channels",
        summary="See who is listening to a channel",
        description="Users with a live subscription, at once right, and how many connections each has.",
        query=PageQuery,
        successes=[
            Success(
                status=200,
                description="Users with a live subscription to the channel.",
                body=Body(
                    schema=PresencePage,
                    example={"items": [{"userId": "bob", "connections": 1}], "nextCursor": None},
                ),
            )
        ],
    ),
    # Members
    Operation(
        operation_id="listMembers",
        method="get",
        path=_CHANNEL + "/members",
        tag="Members",
        summary="List a channel's members",
        description="In the order of their ids.",
        query=PageQuery,
        successes=[
            Success(
                status=200,
                description="A page of members.",
                body=Body(
                    schema=MemberPage, example={"items": [examples.MEMBER], "nextCursor": None}
                ),
            )
        ],
        errors=[400],
    ),
    Operation(
        operation_id="putMember",
        method="put",
        path=_MEMBER,
        tag="Members",
        summary="Add a member or change a member's role",
        description="Owners only. A new member reads all history.",
        request=Body(schema=PutMember, example={"role": "member"}),
        successes=[
            Success(
                status=200,
                description="The member.",
                body=Body(schema=Member, example=examples.MEMBER),
            )
        ],
        errors=[403, 409],
    ),
    Operation(
        operation_id="removeMember",
        method="delete",
        path=_MEMBER,
        tag="Members",
        summary="Remove a member, or leave",
        description="Owners may remove anybody, everybody may leave; the last owner stays.",
        successes=[_done],
        errors=[403, 409],
    ),
    # Messages
    Operation(
        operation_id="postMessage",
        method="post",
        path=_CHANNEL + "/messages",
        tag="Messages",
        summary="Post a message",
        description="With a `clientMessageId` the call is safe to repeat, however late.",
        request=Body(schema=PostMessage, example=examples.POST),
        successes=[
            Success(status=201, description="The message's event.", body=_event_body),
            Success(
                status=200,
                description="The event that this `clientMessageId` made before.",
                body=_event_body,
                headers={"Idempotent-Replayed": "`true`: nothing was written."},
            ),
        ],
        errors=[409],
    ),
    Operation(
        operation_id="listMessages",
        method="get",
        path=_CHANNEL + "/messages",
        tag="Messages",
        summary="List messages as they stand",
        description="Ascending by `seq`, edits and deletions applied: the newest page, or the "
        "newest before `before`, or the oldest after `after`. The cursor goes on in the same "
        "direction.",
        query=MessagesQuery,
        successes=[
            Success(
                status=200,
                description="A page of messages.",
                body=Body(
                    schema=MessagePage,
                    example={"items": [examples.MESSAGE], "nextCursor": None},
                ),
            )
        ],
        errors=[400],
    ),
    Operation(
        operation_id="getMessage",
        method="get",
        path=_MESSAGE,
        tag="Messages",
        summary="Get a message as it stands",
        description="Edits, reactions and a deletion applied.",
        successes=[
            Success(
                status=200,
                description="The message.",
                body=Body(schema=Message, example=examples.MESSAGE),
            )
        ],
    ),
    Operation(
        operation_id="editMessage",
        method="patch",
        path=_MESSAGE,
        tag="Messages",
        summary="Edit a message",
        description="Its sender only, 50 times at most. The agent does not answer edits.",
        request=Body(schema=EditMessage, example={"text": "When do we ship 2.0?"}),
        successes=[
            Success(
                status=200,
                description="The message.",
                body=Body(schema=Message, example=examples.EDITED_MESSAGE),
            )
        ],
        errors=[403, 409],
    ),
    Operation(
        operation_id="deleteMessage",
        method="delete",
        path=_MESSAGE,
        tag="Messages",
        summary="Delete a message",
        description="Its sender or an owner. The text is removed wherever the message and its edits "
        "were stored. Other messages stay as they are: a reply that quotes it, the agent's too, keeps "
        "the quoted words until it is deleted itself.",
        successes=[_done],
        errors=[403],
    ),
    Operation(
        operation_id="addReaction",
        method="put",
        path=_REACTION,
        tag="Messages",
        summary="React to a message",
        description="At most 20 emoji and 1,000 reactions a message. The same one again changes nothing.",
        successes=[_done],
        errors=[409],
    ),
    Operation(
        operation_id="removeReaction",
        method="delete",
        path=_REACTION,
        tag="Messages",
        summary="Take a reaction back",
        description="The caller's own. One that is not there changes nothing.",
        successes=[_done],
        errors=[409],
    ),
    # Agent
    Operation(
        operation_id="regenerateReply",
        method="post",
        path=_MESSAGE + "/regenerate",
        tag="Agent",
        summary="Ask for another reply",
        description="Of an agent's message. A new reply to the same question follows.",
        successes=[_accepted],
        errors=[409],
    ),
    Operation(
        operation_id="cancelGenerations",
        method="post",
        path=_CHANNEL + "/generations/cancel",
        tag="Agent",
        summary="Cancel replies that are queued or being written",
        description="Those to one question, or all there are. Each ends in a message with what "
        "was written.",
        request=Body(schema=CancelGenerations, example={"replyTo": 12}, required=False),
        successes=[_accepted],
    ),
    Operation(
        operation_id="listGenerations",
        method="get",
        path=_CHANNEL + "/generations",
        tag="Agent",
        summary="List the replies that are open",
        description="Queued, running, or waiting for an approval. What is not here has ended in "
        "the log.",
        successes=[
            Success(
                status=200,
                description="The open replies, by question.",
                body=Body(
                    schema=OpenGenerationList,
                    example={
                        "items": [
                            {
                                "replyTo": 12,
                                "generation": 1,
                                "status": "running",
                                "startedAt": "2026-03-01T09:00:00.000Z",
                            }
                        ]
                    },
                ),
            )
        ],
    ),
    Operation(
        operation_id="listTools",
        method="get",
        path="/v1/tools",
        tag="Agent",
        summary="List the tools that this deployment offers",
        description="An owner lets a channel's agent call some of them by `agent.tools`. What a "
        "tool says of itself is its server's word.",
        successes=[
            Success(
                status=200,
                description="The tools, by name.",
                body=Body(schema=ToolList, example={"items": [examples.TOOL]}),
            )
        ],
    ),
    Operation(
        operation_id="decideCall",
        method="post",
        path=_CHANNEL + "/tools/{callId}/decision",
        tag="Agent",
        summary="Approve or deny a call of a tool",
        description="Whoever the call's `approval` names decides, once. A 409 for a call that was "
        "decided before says `decision` and, where it was a person's, `decidedBy`; so does one "
        "that nobody decided in time. Other conflicts: the digest is not that of the call's "
        "arguments, the question was deleted, the channel no longer allows the tool.",
        request=Body(schema=DecideCall, example={"decision": "approve"}),
        successes=[
            Success(
                status=200,
                description="The decision; the first one, where the same person decides the same "
                "again.",
                body=Body(schema=ToolDecided, example=examples.DECIDED),
            )
        ],
        errors=[403, 409],
    ),
    Operation(
        operation_id="getUsage",
        method="get",
        path=_CHANNEL + "/usage",
        tag="Agent",
        summary="See what the agent's replies have cost",
        description="Owners only. Sums a day (UTC), a user who asked and a model: the usage of the "
        "replies, and what attempts cost that came to nothing.",
        query=UsageQuery,
        successes=[
            Success(
                status=200,
                description="A page of sums.",
                body=Body(
                    schema=UsagePage,
                    example={
                        "items": [
                            {
                                "day": "2026-03-01",
                                "userId": "bob",
                                "modelId": "eu.amazon.nova-lite-v1:0",
                                "requests": 3,
                                "inputTokens": 1840,
                                "outputTokens": 412,
                            }
                        ],
                        "nextCursor": None,
                    },
                ),
            )
        ],
        errors=[403],
    ),
    # Log
    Operation(
        operation_id="listEvents",
        method="get",
        path=_CHANNEL + "/events",
        tag="Log",
        summary="Read a channel's log",
        description="Ascending and gap-free: whoever holds 1 to n knows that they hold all.",
        query=EventsQuery,
        successes=[
            Success(
                status=200,
                description="A stretch of the log.",
                body=Body(
                    schema=EventPage,
                    example={"items": [examples.EVENT], "lastSeq": 12, "hasMore": False},
                ),
            )
        ],
    ),
    # Service
    Operation(
        operation_id="issueTicket",
        method="post",
        path="/v1/tickets",
        tag="Service",
        summary="Get a ticket that opens one WebSocket",
        description="Good once, for 60 seconds: no long-lived secret is ever in a URL.",
        successes=[
            Success(
                status=201,
                description="The ticket; `expiresIn` is in seconds.",
                body=Body(
                    schema=Ticket,
                    example={
                        "ticket": "k3hD7AZt8bq1uX0cQmW5yKp3hD7AZt8bq1uX0cQmW5y",
                        "expiresIn": 60,
                    },
                ),
            )
        ],
    ),
    Operation(
        operation_id="getMe",
        method="get",
        path="/v1/me",
        tag="Service",
        summary="Get who the token says is calling",
        description="The user id that the token's claim names, and the display name if it has one.",
        successes=[
            Success(
                status=200,
                description="The caller.",
                body=Body(schema=Me, example={"userId": "alice", "name": "Alice"}),
            )
        ],
    ),
    Operation(
        operation_id="getHealth",
        method="get",
        path="/v1/health",
        tag="Service",
        summary="See whether the API serves",
        description="Answers without reading any storage.",
        has_token=False,
        successes=[
            Success(
                status=200,
                description="It does.",
                body=Body(schema=Health, example={"status": "ok", "version": "0.1.0"}),
            )
        ],
    ),
    Operation(
        operation_id="getOpenApi",
        method="get",
        path="/openapi.json",
        tag="Service",
        summary="Get this document",
        description="The description of the REST API: OpenAPI 3.1.",
        has_token=False,
        successes=[
            Success(
                status=200,
                description="An OpenAPI document.",
                body=Body(schema="OpenApiDocument", example={"openapi": "3.1.0"}),
            )
        ],
    ),
    Operation(
        operation_id="getAsyncApi",
        method="get",
        path="/asyncapi.json",
        tag="Service",
        summary="Get the description of the WebSocket API",
        description="AsyncAPI 3: every frame of clients and of the server.",
        has_token=False,
        successes=[
            Success(
                status=200,
                description="An AsyncAPI document.",
                body=Body(schema="AsyncApiDocument", example={"asyncapi": "3.0.0"}),
            )
        ],
    ),
    Operation(
        operation_id="getSwagger",
        method="get",
        path="/swagger",
        tag="Service",
        summary="Try the API in a browser",
        description="Swagger UI on this document; it loads nothing from elsewhere.",
        has_token=False,
        successes=[Success(status=200, description="A page.", media_type="text/html")],
    ),
)
