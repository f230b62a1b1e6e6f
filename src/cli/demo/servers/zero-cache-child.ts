// The root process of the demo's zero-cache: `node zero-cache-child.ts <folder>`, configured by its environment. Its parts are
// processes with sessions of their own, which would go on without it; they end when stdin does.
import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { pathToFileURL } from 'node:url'

import { descendantsOf, signalAll } from './process-tree.ts'

// It has options of its own; the folder only says in a list of processes whose it is.
process.argv.splice(2)
process.stdin.on('end', () => signalAll([...descendantsOf(process.pid), process.pid], 'SIGKILL'))
process.stdin.resume()

const manifest = findPackageJSON('@rocicorp/zero', import.meta.url)!
const { bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly bin: Record<string, string> }
await import(new URL(bin['zero-cache']!, pathToFileURL(manifest)).href)
