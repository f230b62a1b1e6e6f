// Runs before every npm script that a user calls: installs the dependencies when they are missing or do not match the
// lock file, then makes sure that the script itself will run on Node 24. Node built-ins only, Node 20 and newer, and
// nothing on stdout, so that `npm run -s sluice -- ... --json` stays machine readable.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const oldestNode = 24
const lockDeadline = 10 * 60_000

if (!isInstalled()) installAlone()
const version = nodeOfScripts()
if (Number.parseInt(version, 10) < oldestNode) {
  fail(
    `sluice: this project needs Node ${oldestNode} or newer, but its scripts would run on ${version}.\n` +
      `The lock file brings Node ${oldestNode} for Linux, Windows and macOS as an optional package; it was not installed here\n` +
      `(was npm run with --omit=optional?). Delete node_modules and try again, or install Node ${oldestNode} from https://nodejs.org.`,
  )
}

/** Compares what npm says it installed with the lock file, by content: the times of a fresh checkout mean nothing. */
function isInstalled() {
  const wanted = packagesIn('package-lock.json')
  const present = packagesIn('node_modules/.package-lock.json')
  if (wanted === null)
    fail('sluice: package-lock.json is missing. Restore it with `git checkout package-lock.json`.')
  if (present === null) return false
  return Object.entries(wanted).every(([folder, entry]) => {
    if (folder === '') return true
    const found = present[folder]
    // A platform package is rightly absent on every other platform.
    return found === undefined ? entry.optional === true : found.version === entry.version
  })
}

function packagesIn(file) {
  const path = join(root, file)
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : null
}

/** Installs under a lock: two scripts that start at once must not both replace node_modules. */
function installAlone() {
  const key = createHash('sha256').update(root).digest('hex').slice(0, 16)
  const lock = join(tmpdir(), `sluice-install-${key}.lock`)
  takeLock(lock)
  try {
    if (!isInstalled()) install()
  } finally {
    rmSync(lock, { force: true })
  }
}

function takeLock(lock) {
  const deadline = Date.now() + lockDeadline
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (isAbandoned(lock)) rmSync(lock, { force: true })
    else if (Date.now() > deadline) fail(`sluice: another install seems to hang. End it, or remove ${lock}.`)
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
}

function isAbandoned(lock) {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    // The owner writes its id right after it creates the file.
    if (!(pid > 0)) return Date.now() - statSync(lock).mtimeMs > 5_000
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}

function install() {
  process.stderr.write('sluice: installing the dependencies (once; about 350 MB to download) ...\n')
  const started = Date.now()
  const args = ['ci', '--include=dev', '--include=optional', '--loglevel=error', '--no-audit', '--no-fund']
  // `npm run` names its own program; calling that avoids a second npm from the PATH.
  const program = process.env.npm_execpath
  const [command, prefix] = program?.endsWith('npm-cli.js') ? [process.execPath, [program]] : ['npm', []]
  const result = spawnSync(command, [...prefix, ...args], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: command === 'npm' && process.platform === 'win32',
  })
  if (result.status !== 0) {
    fail(
      `sluice: \`npm ci\` failed (${result.error?.message ?? `exit code ${result.status}`}). Its own messages are above.`,
    )
  }
  process.stderr.write(`sluice: dependencies installed in ${Math.round((Date.now() - started) / 1000)} s\n`)
}

function nodeOfScripts() {
  const path = [join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter)
  const result = spawnSync('node', ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
    shell: process.platform === 'win32',
  })
  return result.stdout?.trim().replace(/^v/, '') || process.versions.node
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}
