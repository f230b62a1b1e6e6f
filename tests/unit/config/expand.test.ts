import { describe, expect, it } from 'vitest'
import { type Environment, expand } from '../../../src/runtime/config/expand.ts'

const environment: Environment = {
  variables: {
    HOST: 'db.example',
    EMPTY: '',
    TRICKY: 'a: [b, {c: d}] # "e" \\ ${HOST} $& $1',
    TOKEN_FILE: '/run/secrets/token',
    LOST_FILE: '/run/secrets/lost',
  },
  readFile: (path) => {
    if (path !== '/run/secrets/token') throw new Error('no such file')
    return 'from a file\n'
  },
}

describe('expand', () => {
  it.each([
    ['${HOST}', 'db.example'],
    ['pg://${HOST}:5432/${NAME:shop}', 'pg://db.example:5432/shop'],
    ['${PORT:}', ''],
    ['${URL:http://localhost:8123}', 'http://localhost:8123'],
    ['${EMPTY:default}', ''],
    ['$${HOST}', '${HOST}'],
    ['$$${HOST}', '$${HOST}'],
    ['$HOST costs 5$', '$HOST costs 5$'],
    ['${TOKEN}', 'from a file'],
  ])('turns %s into %s', (text, expected) => {
    expect(expand(text, environment)).toEqual({ value: expected, mistakes: [] })
  })

  it('takes a value as it is: it is neither structure nor expanded again', () => {
    expect(expand('${TRICKY}', environment).value).toBe(environment.variables['TRICKY'])
  })

  it('reaches every text of the file, and no key', () => {
    const input = { '${HOST}': 1, list: ['${HOST}', { deep: '${HOST}' }], number: 5, nothing: null }
    expect(expand(input, environment).value).toEqual({
      '${HOST}': 1,
      list: ['db.example', { deep: 'db.example' }],
      number: 5,
      nothing: null,
    })
  })

  it('names every variable that is not set, with the path', () => {
    const input = { source: { url: '${A}', user: '${B}:${C:c}' }, tables: ['${HOST}', '${D}'] }
    expect(expand(input, environment).mistakes).toEqual([
      { path: ['source', 'url'], reason: 'needs the environment variable A, which is not set' },
      { path: ['source', 'user'], reason: 'needs the environment variable B, which is not set' },
      { path: ['tables', 1], reason: 'needs the environment variable D, which is not set' },
    ])
  })

  it.each(['${}', '${1A}', '${A B}', 'x ${HOST', '${HOST'])(
    'refuses the malformed placeholder %s',
    (text) => {
      expect(expand(text, environment).mistakes[0]?.reason).toContain('malformed placeholder')
    },
  )

  it('says which secret file cannot be read, without its path or content', () => {
    expect(expand('${LOST}', environment).mistakes).toEqual([
      { path: [], reason: 'needs the file that LOST_FILE names, which cannot be read' },
    ])
  })
})
