import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A process and all its descendants, parents first. */
export function processTree(root: number): readonly number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = parentOf(Number(name))
    if (parent === null) continue
    const known = children.get(parent)
    if (known === undefined) children.set(parent, [Number(name)])
    else known.push(Number(name))
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** Processes that work in a folder or name it in their arguments, as lines for people. */
export function processesIn(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(
      (pid) =>
        `${pid} in ${workingFolder(pid)}: ${(read(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ')}`,
    )
    .filter((line) => line.includes(folder))
}

/** Sends a signal to each process that is still there. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/** Resident memory of the processes together, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + residentOf(pid), 0)
}

/** Null when the process is gone. */
function parentOf(pid: number): number | null {
  const stat = read(`/proc/${pid}/stat`)
  // The name, in parentheses, may hold anything.
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

function residentOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')
  return line === null ? 0 : Number(line[1]) * 1024
}

function workingFolder(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
