/** Times, names and counts as people expect them, in the browser's language where there is a choice. */

const MINUTE = 60_000;
const DAY = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const weekdayShort = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const dayAndMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });
const dayAndMonthShort = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const wholeDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** @param {string} time RFC 3339. */
export function timeOfDay(time) {
  return clock.format(new Date(time));
}

/** @param {string} time */
export function exactTime(time) {
  return exact.format(new Date(time));
}

/**
 * The heading over a day's messages.
 *
 * @param {string} time
 */
export function dayName(time, now = new Date()) {
  const date = new Date(time);
  const days = daysBetween(date, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return weekday.format(date);
  return (date.getFullYear() === now.getFullYear() ? dayAndMonth : wholeDay).format(date);
}

/**
 * Beside a channel: the time today, the weekday this week, else the date.
 *
 * @param {string} time
 */
export function briefTime(time, now = new Date()) {
  const date = new Date(time);
  const days = daysBetween(date, now);
  if (days <= 0) return clock.format(date);
  return (days < 7 ? weekdayShort : dayAndMonthShort).format(date);
}

/**
 * A time to come, as one says it after "until": the time today, with the day else.
 *
 * @param {string} time
 */
export function timeToCome(time, now = new Date()) {
  const date = new Date(time);
  const days = daysBetween(now, date);
  if (days <= 0) return clock.format(date);
  const day = days === 1 ? "tomorrow" : (days < 7 ? weekday : dayAndMonth).format(date);
  return `${day}, ${clock.format(date)}`;
}

/**
 * @param {string} one
 * @param {string} other
 */
export function isSameDay(one, other) {
  return daysBetween(new Date(one), new Date(other)) === 0;
}

/**
 * @param {string} one
 * @param {string} other
 */
export function minutesBetween(one, other) {
  return Math.abs(Date.parse(other) - Date.parse(one)) / MINUTE;
}

/**
 * @param {Date} earlier
 * @param {Date} later
 */
function daysBetween(earlier, later) {
  const midnight = (/** @type {Date} */ date) => new Date(date).setHours(0, 0, 0, 0);
  return Math.round((midnight(later) - midnight(earlier)) / DAY);
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** @param {number} count Of unread messages: 100 stands for 100 or more. */
export function unreadLabel(count) {
  return count >= 100 ? "99+" : String(count);
}

/**
 * "Ann", "Ann and Bob", "Ann, Bob and 3 others".
 *
 * @param {string[]} names
 */
export function listed(names, most = 3) {
  if (names.length <= 1) return names.join("");
  const shown = names.length > most ? names.slice(0, most - 1) : names.slice(0, -1);
  const rest = names.length - shown.length;
  return `${shown.join(", ")} and ${rest === 1 ? names.at(-1) : `${rest} others`}`;
}

/** @param {string} name */
export function initials(name) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1) ?? ""] : [words[0] ?? name];
  return letters.map((word) => [...word][0] ?? "").join("").toUpperCase() || "?";
}

/**
 * One of `count` hues, always the same for an id.
 *
 * @param {string} id
 */
export function hueOf(id, count = 8) {
  let hash = 0;
  for (const letter of id) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return hash % count;
}
