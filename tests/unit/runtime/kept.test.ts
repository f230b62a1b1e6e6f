import { expect, it } from 'vitest'
import { Kept } from '../../../src/runtime/kept.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

function thing(ended: string[], name: string): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      ended.push(name)
    },
  }
}

it('gives a thing out once, and disposes of what is left when the run ends', async () => {
  const ended: string[] = []
  const kept = new Kept(silent)
  const one = thing(ended, 'one')
  kept.keep('a', one)
  kept.keep('b', thing(ended, 'two'))
  expect(kept.take('a')).toBe(one)
  expect(kept.take('a')).toBeNull()
  await kept.end()
  expect(ended).toEqual(['two'])
  await kept.end()
  expect(ended).toEqual(['two'])
})

it('ends the others when one fails to end, and says so', async () => {
  const ended: string[] = []
  const warnings: string[] = []
  const kept = new Kept({ ...silent, warn: (message) => void warnings.push(message) })
  kept.keep('broken', {
    async [Symbol.asyncDispose]() {
      throw new Error('stuck')
    },
  })
  kept.keep('b', thing(ended, 'two'))
  await kept.end()
  expect(ended).toEqual(['two'])
  expect(warnings).toEqual(['broken did not end: unexpected Error: stuck'])
})
