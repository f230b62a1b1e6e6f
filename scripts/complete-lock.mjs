// Adds to package-lock.json the platform packages (optional, filtered by os and cpu) that npm left out.
//
// npm drops an optional dependency from the lock file when the registry in use does not list it, and `npm ci` then
// refuses that very lock file. Their versions are exact in the packages that ask for them, so the entries can be
// completed without asking a registry. Run it after every change of the dependencies; it changes nothing when
// nothing is missing.
import { readFileSync, writeFileSync } from 'node:fs'

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const processors = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']

/** `@oxlint/binding-linux-x64-gnu` -> `{ os: ['linux'], cpu: ['x64'], libc: ['glibc'] }`; null when it names no platform. */
function platformOf(name) {
  const words = name.split(/[/-]/)
  const os = systems.find((system) => words.includes(system))
  const cpu = processors.find((processor) => words.includes(processor))
  if (os === undefined || cpu === undefined) return null
  const libc =
    os !== 'linux'
      ? null
      : words.some((word) => word.startsWith('musl'))
        ? 'musl'
        : words.includes('gnu')
          ? 'glibc'
          : null
  return { os: [os], cpu: [cpu], ...(libc === null ? {} : { libc: [libc] }) }
}

function isLocked(parent, name) {
  for (let folder = parent; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${folder}/node_modules/${name}`] !== undefined) return true
    if (folder === '' || !folder.includes('/node_modules/')) break
  }
  return lock.packages[`node_modules/${name}`] !== undefined
}

const added = []
for (const [folder, entry] of Object.entries(lock.packages)) {
  if (folder === '') continue
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isLocked(folder, name) || !/^\d/.test(version)) continue
    const platform = platformOf(name)
    if (platform === null) continue
    // In npm's own order, so that its next run changes nothing.
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: platform.cpu,
      ...(entry.dev ? { dev: true } : {}),
      ...(platform.libc ? { libc: platform.libc } : {}),
      optional: true,
      os: platform.os,
    }
    added.push(`${name}@${version}`)
  }
}

if (added.length > 0) {
  const keys = Object.keys(lock.packages).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  lock.packages = Object.fromEntries(keys.map((key) => [key, lock.packages[key]]))
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
}
console.error(`complete-lock: ${added.length} entries added`)
