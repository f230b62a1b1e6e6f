import { setTimeout as delay } from 'node:timers/promises'

/**
 * Waits until the condition holds, asking again and again; fails when it does not hold within the deadline
 * (milliseconds). `what` is the condition in words, for the error message. Throws what `holds` throws.
 */
export async function waitFor(
  what: string,
  holds: () => boolean | Promise<boolean>,
  deadlineMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await holds())) {
    if (performance.now() > deadline)
      throw new Error(`Within ${deadlineMs} ms it did not become true: ${what}`)
    await delay(10)
  }
}

/** True when the promise settles, in whatever way, within so many milliseconds. */
export async function settles(promise: Promise<unknown>, deadlineMs: number): Promise<boolean> {
  const timer = new AbortController()
  const late = delay(deadlineMs, false, { signal: timer.signal }).catch(() => false)
  const settled = promise.then(
    () => true,
    () => true,
  )
  const inTime = await Promise.race([settled, late])
  timer.abort()
  return inTime
}
