/** Projections of what is inside a field, as `$project` and `$addFields` apply them: through arrays, element by element. */
import type { Expression } from '../mapping.ts'
import type { DocumentValue, LazyDocument } from '../value.ts'

export type ProjectionNode =
  | { readonly kind: 'include' }
  | { readonly kind: 'exclude' }
  | { readonly kind: 'computed'; readonly expression: Expression }
  | { readonly kind: 'inside'; readonly children: ReadonlyMap<string, ProjectionNode> }

/** `include`: only what is named stays. `exclude`: what is named goes. `add`: everything stays. */
export type ProjectionMode = 'include' | 'exclude' | 'add'

type Inside = Extract<ProjectionNode, { kind: 'inside' }>

/** The value with the projection applied; `root` is what expressions read. */
export function project(
  value: DocumentValue | undefined,
  node: Inside,
  mode: ProjectionMode,
  root: LazyDocument,
): DocumentValue | undefined {
  const rest = mode === 'add' ? value : prune(value, node, mode)
  return computes(node) ? compute(rest, node, root) : rest
}

function prune(
  value: DocumentValue | undefined,
  node: Inside,
  mode: 'include' | 'exclude',
): DocumentValue | undefined {
  if (value === undefined) return undefined
  if (value.kind === 'array') {
    const elements = value.value.map((element) => prune(element, node, mode))
    return { kind: 'array', value: elements.filter((element) => element !== undefined) }
  }
  if (value.kind !== 'object') return mode === 'include' ? undefined : value
  const fields = [...value.value].flatMap(([name, inner]): [string, DocumentValue][] => {
    const kept = pruneField(inner, node.children.get(name), mode)
    return kept === undefined ? [] : [[name, kept]]
  })
  return { kind: 'object', value: new Map(fields) }
}

function pruneField(
  value: DocumentValue,
  node: ProjectionNode | undefined,
  mode: 'include' | 'exclude',
): DocumentValue | undefined {
  switch (node?.kind) {
    case undefined:
      return mode === 'include' ? undefined : value
    case 'include':
      return value
    case 'exclude':
      return undefined
    case 'inside':
      return prune(value, node, mode)
    case 'computed':
      // Computed fields come behind the others, as for the server.
      return undefined
  }
}

function compute(value: DocumentValue | undefined, node: Inside, root: LazyDocument): DocumentValue {
  if (value?.kind === 'array') {
    return { kind: 'array', value: value.value.map((element) => compute(element, node, root)) }
  }
  const fields = new Map(value?.kind === 'object' ? value.value : [])
  for (const [name, child] of node.children) {
    if (child.kind === 'inside' && computes(child)) fields.set(name, compute(fields.get(name), child, root))
    if (child.kind !== 'computed') continue
    const computed = child.expression.evaluate(root)
    if (computed === undefined) fields.delete(name)
    else fields.set(name, computed)
  }
  return { kind: 'object', value: fields }
}

/** Whether something in it is computed. */
function computes(node: ProjectionNode): boolean {
  if (node.kind === 'inside') return [...node.children.values()].some(computes)
  return node.kind === 'computed'
}
