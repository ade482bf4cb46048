/** @type {Record<string, string>} */
const REASONS = {
  throttled: "The model is busy. Try again in a moment.",
  timeout: "The model took too long to answer.",
  model_error: "The model could not answer.",
  empty: "The model had nothing to say.",
  budget: "The limit of tokens for today is used up.",
};

/**
 * What a person is told of a reply that failed.
 *
 * @param {string} reason Of `agent.failed`; one that a newer server knows is told as it is.
 */
export function failureText(reason) {
  return REASONS[reason] ?? `The agent could not answer (${reason}).`;
}
