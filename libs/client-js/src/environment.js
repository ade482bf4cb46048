/**
 * Calls back when a page has reason to look at its connection: the network came or went, or the page
 * is looked at again (a browser slows the timers of a hidden one). Elsewhere it never does.
 *
 * @param {() => void} look
 * @returns {() => void} Ends it.
 */
export function watchEnvironment(look) {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") return () => {};
  const lookIfVisible = () => {
    if (document.visibilityState === "visible") look();
  };
  addEventListener("online", look);
  addEventListener("offline", look);
  addEventListener("pageshow", look);
  document.addEventListener("visibilitychange", lookIfVisible);
  return () => {
    removeEventListener("online", look);
    removeEventListener("offline", look);
    removeEventListener("pageshow", look);
    document.removeEventListener("visibilitychange", lookIfVisible);
  };
}
