import { mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll } from 'vitest'
import { blocksOf, writeBlock } from '../support/doc-blocks.ts'

// The sink of CONTRIBUTING_CONNECTORS.md keeps the laws, by the harness that stands there. Inside the
// repository, so that it resolves what a user's project would have.
const folder = mkdtempSync(resolve(import.meta.dirname, '../unit/docs-guide-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

for (const block of blocksOf('CONTRIBUTING_CONNECTORS.md'))
  if (block.file?.startsWith('files-sink.') === true) writeBlock(block, folder, block.file)
await import(pathToFileURL(join(folder, 'files-sink.laws.ts')).href)
