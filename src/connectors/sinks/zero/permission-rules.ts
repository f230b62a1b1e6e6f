/**
 * The shape of compiled permissions, as `permissionsConfigSchema` of @rocicorp/zero has it. Pure. Conditions are looked at
 * only as far as they are the same in all versions of Zero: the file is written by a tool, and that may be a newer one.
 */
import { closest } from '../../../core/closest.ts'
import type { Json } from '../../../core/position.ts'

export interface PermissionMistake {
  readonly path: readonly (string | number)[]
  /** A clause without a full stop. */
  readonly reason: string
}

type Path = PermissionMistake['path']
type Check = (value: Json, path: Path) => readonly PermissionMistake[]
type JsonObject = { readonly [key: string]: Json }

const DEPTH_MAX = 200

/** The complete list. */
export function permissionMistakes(permissions: Json): readonly PermissionMistake[] {
  return config(permissions, [])
}

const condition: Check = (value, path) => {
  if (path.length > DEPTH_MAX) return [{ path, reason: 'is nested too deeply' }]
  if (!isObject(value) || typeof value['type'] !== 'string') {
    return [{ path, reason: 'must be a condition, such as {"type": "and", "conditions": []}' }]
  }
  if (value['type'] === 'and' || value['type'] === 'or') {
    return list(condition)(value['conditions'] ?? null, [...path, 'conditions'])
  }
  const parts = PARTS[value['type']] ?? []
  const missing = parts.filter((part) => !Object.hasOwn(value, part))
  return missing.map((part) => ({ path: [...path, part], reason: 'is missing' }))
}

const PARTS: Readonly<Record<string, readonly string[]>> = {
  simple: ['op', 'left', 'right'],
  correlatedSubquery: ['related', 'op'],
}

const rule: Check = (value, path) => {
  if (!isList(value) || value.length !== 2 || value[0] !== 'allow') {
    return [{ path, reason: 'must be a rule, ["allow", condition]' }]
  }
  return condition(value[1]!, [...path, 1])
}

const policy = list(rule)
const asset = object({
  select: policy,
  insert: policy,
  update: object({ preMutation: policy, postMutation: policy }),
  delete: policy,
})
const config = object({ tables: record(object({ row: asset, cell: record(asset) })) })

/** An object with none but these keys, each of which may be left out. */
function object(keys: Readonly<Record<string, Check>>): Check {
  return record((value, path) => {
    const key = String(path.at(-1))
    if (Object.hasOwn(keys, key)) return keys[key]!(value, path)
    const near = closest(key, Object.keys(keys))
    const known = near === null ? `; known: ${Object.keys(keys).join(', ')}` : `, did you mean "${near}"?`
    return [{ path, reason: `unknown key${known}` }]
  })
}

function record(of: Check): Check {
  return (value, path) => {
    if (!isObject(value)) return [{ path, reason: 'must be an object' }]
    return Object.entries(value).flatMap(([key, inner]) => of(inner, [...path, key]))
  }
}

function list(of: Check): Check {
  return (value, path) => {
    if (!isList(value)) return [{ path, reason: 'must be a list' }]
    return value.flatMap((inner, index) => of(inner, [...path, index]))
  }
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
