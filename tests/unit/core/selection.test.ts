import { describe, expect, it } from 'vitest'
import { closest } from '../../../src/core/closest.ts'
import { comparePositions, earlier } from '../../../src/core/position.ts'
import { isLiteral, selectTables } from '../../../src/core/selection.ts'
import { at } from '../../support/batches.ts'

describe('a selection of tables', () => {
  it.each([
    [[], 'public.users', true],
    [['public.users'], 'public.users', true],
    [['public.users'], 'public.users2', false],
    [['public.*'], 'public.users', true],
    [['public.*'], 'private.users', false],
    [['*.user?'], 'any.users', true],
    [['*.user?'], 'any.user', false],
    [['public.*', '!public.log*'], 'public.log_2024', false],
    [['!public.log*'], 'public.users', true],
    [['public.a+b(c)'], 'public.a+b(c)', true],
    [['public.a.b'], 'public.axb', false],
    [['public.größe'], 'public.größe', true],
  ])('%j includes %s: %s', (patterns, name, included) => {
    const [namespace, table] = [name.slice(0, name.indexOf('.')), name.slice(name.indexOf('.') + 1)]
    expect(selectTables(patterns).includes(namespace, table)).toBe(included)
  })

  it('knows a pattern that names one table', () => {
    expect(['public.users', 'public.*', '!public.users', 'public.user?'].map(isLiteral)).toEqual([
      true,
      false,
      false,
      false,
    ])
  })
})

describe('positions', () => {
  it('compare as their order does', () => {
    expect([
      comparePositions(at(1), at(2)),
      comparePositions(at(2), at(2)),
      comparePositions(at(10), at(9)),
    ]).toEqual([-1, 0, 1])
  })

  it('have nothing before all of them', () => {
    expect(earlier(at(1), null)).toBeNull()
    expect(earlier(null, at(1))).toBeNull()
    expect(earlier(at(2), at(1))).toEqual(at(1))
  })
})

describe('the nearest name', () => {
  it('is offered for a typing mistake and not for another word', () => {
    expect(closest('postgers', ['mysql', 'postgres'])).toBe('postgres')
    expect(closest('kafka', ['mysql', 'postgres'])).toBeNull()
  })
})
