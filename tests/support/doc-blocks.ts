import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

/** A block of code in a page of the documentation. */
export interface Block {
  /** Relative to the repository. */
  readonly page: string
  readonly language: string
  readonly text: string
  /** The name of the file that its first line says it is. */
  readonly file: string | null
}

export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)].map((match) => ({
    page,
    language: match[1]!,
    text: match[2]!,
    file: /^(?:\/\/|#) ([\w.-]+\.\w+)\n/.exec(match[2]!)?.[1] ?? null,
  }))
}

/** Writes a block to a folder and gives the path. Not as a test: whoever runs all tests would find it. */
export function writeBlock(block: Block, folder: string, name: string): string {
  const path = join(folder, name.replace(/\.test\.ts$/, '.laws.ts'))
  writeFileSync(path, block.text)
  return path
}
