import { execFileSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'

/** The process ids of all descendants, parents first; none where there is no `ps`. */
export function descendantsOf(root: number): readonly number[] {
  const found = [root]
  const rows = processTable()
  for (const parent of found) found.push(...rows.flatMap(([pid, ppid]) => (ppid === parent ? [pid] : [])))
  return found.slice(1)
}

/** Sends a signal to each that is still there. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended by itself.
    }
  }
}

/** Waits until none of them is there; false when one still is after the deadline. */
export async function allGone(pids: readonly number[], deadlineMs: number): Promise<boolean> {
  const deadline = performance.now() + deadlineMs
  while (pids.some(isThere)) {
    if (performance.now() > deadline) return false
    await delay(20)
  }
  return true
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function processTable(): readonly (readonly [number, number])[] {
  try {
    const table = execFileSync('ps', ['-A', '-o', 'pid=', '-o', 'ppid='], { encoding: 'utf8' })
    return table
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .flatMap(([pid, ppid]) => (pid === undefined || ppid === undefined ? [] : [[pid, ppid] as const]))
  } catch {
    // Without `ps` they end by themselves, a little later.
    return []
  }
}
