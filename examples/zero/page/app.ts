/** The page: a Zero client, and a table that is what the client's query gives. */
import { type Row, Zero } from '@rocicorp/zero'

import { queries } from '../queries.ts'
import { schema } from '../schema.ts'

type Order = Row<typeof schema.tables.orders>

// Set by start.ts.
declare const ZERO_CACHE: string

const zero = new Zero({
  cacheURL: ZERO_CACHE,
  schema,
  // In the browser's database, rows would outlive the example's own database.
  kvStore: 'mem',
})

const connection = element('connection')
const showConnection = (): void => {
  const { name } = zero.connection.state.current
  connection.textContent = name
  connection.dataset['state'] = name
}
zero.connection.state.subscribe(showConnection)
showConnection()

const shown = new Map<number, { readonly line: HTMLTableRowElement; readonly text: string }>()
zero.materialize(queries.orders()).addListener((orders, result) => {
  show(orders as readonly Order[])
  if (result === 'complete') document.body.dataset['complete'] = 'true'
})

for (const button of document.querySelectorAll('button')) {
  button.addEventListener('click', () => void run(button.dataset['statement']!))
}

/** Has the server change rows in Postgres. What changes here comes from there. */
async function run(name: string): Promise<void> {
  const response = await fetch(`/statements/${name}`, { method: 'POST' })
  element('statement').textContent = await response.text()
}

function show(orders: readonly Order[]): void {
  const isFirst = shown.size === 0
  const left = new Set(shown.keys())
  let newest = 0
  for (const order of orders) {
    left.delete(order.id)
    const text = JSON.stringify(order)
    const before = shown.get(order.id)
    if (before?.text === text) continue
    const line = lineOf(order)
    shown.set(order.id, { line, text })
    before?.line.remove()
    newest = Math.max(newest, order.changed_at)
    if (!isFirst) line.classList.add('changed')
  }
  for (const id of left) {
    shown.get(id)!.line.remove()
    shown.delete(id)
  }
  // Those that are in place already stay, with whatever they are in the middle of.
  const body = element('orders')
  orders.forEach((order, at) => {
    const { line } = shown.get(order.id)!
    if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null)
  })
  const open = orders.filter(({ status }) => status !== 'shipped').length
  element('summary').textContent = `${orders.length} orders, ${open} of them open`
  // Both clocks are the same while everything runs on one machine.
  if (!isFirst && newest > 0)
    element('delay').textContent =
      `seen ${Math.max(0, Math.round(Date.now() - newest))} ms after it was written`
}

function lineOf(order: Order): HTMLTableRowElement {
  const line = document.createElement('tr')
  const cell = (text: string, kind = ''): HTMLTableCellElement => {
    const td = line.insertCell()
    td.textContent = text
    td.className = kind
    return td
  }
  cell(String(order.id), 'number')
  cell(order.customer)
  cell(order.coffee)
  cell(String(order.bags), 'number')
  cell(`${order.total.toFixed(2)} €`, 'number')
  const status = document.createElement('span')
  status.className = 'status'
  status.dataset['status'] = order.status
  status.textContent = order.status
  cell('').append(status)
  return line
}

function element(id: string): HTMLElement {
  return document.getElementById(id)!
}
