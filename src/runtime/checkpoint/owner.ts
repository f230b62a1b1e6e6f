import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { bootId } from './moment.ts'
import type { LeaseOwner } from './store.ts'

/** This process, as the owner of a lease. */
export function thisProcess(): LeaseOwner {
  return { host: hostname(), pid: process.pid, startedAt: startOf(process.pid) }
}

/**
 * False when the owner is certainly gone: same host, and no process with that pid and start time. A process of another
 * host cannot be asked, so it counts as alive until its lease expires.
 */
export function mayBeAlive(owner: LeaseOwner): boolean {
  if (owner.host !== hostname()) return true
  if (owner.startedAt !== null) return startOf(owner.pid) === owner.startedAt
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Boot id and start time in clock ticks since boot; null where there is no /proc. Both together name a process for
 * good: pids are given out again, and in a container the main process always has pid 1.
 */
function startOf(pid: number): string | null {
  const boot = bootId()
  if (boot === null) return null
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name, second and in parentheses, may hold anything; the start time is the 20th field after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // A zombie has ended.
    return fields[0] === 'Z' ? null : `${boot}/${fields[19]}`
  } catch {
    return null
  }
}
