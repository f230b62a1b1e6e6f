/** Timers know no longer time than 24.8 days, and theirs stands still while the machine sleeps. In milliseconds. */
const LONGEST_MS = 60_000

/**
 * Calls `ring` once `now` gives `atMs` or more (milliseconds since 1970 UTC), however far away that is, and never within
 * this call. Returns how to call it off.
 */
export function setAlarm(atMs: number, now: () => number, ring: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = () => {
    timer = setTimeout(look, Math.min(Math.max(0, atMs - now()), LONGEST_MS))
  }
  // A timer may be early by a millisecond.
  const look = () => (now() < atMs ? wait() : ring())
  wait()
  return () => clearTimeout(timer)
}
