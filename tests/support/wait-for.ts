import { setTimeout as delay } from 'node:timers/promises'

/**
 * Waits until the condition holds, asking again and again; fails when it does not hold within the deadline.
 *
 * @param what the condition in words, for the error message.
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
