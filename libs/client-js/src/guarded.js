/**
 * Calls a function of the application's. What it throws surfaces as uncaught, and does not keep the
 * session from its work.
 *
 * @param {() => void} call
 */
export function guarded(call) {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") {
      reportError(error);
    } else {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
