/** What a newcomer sees: `npm run example:zero`, and its page in a browser. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { TestBrowser } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { sql } from '../support/postgres.ts'
import { processesIn } from '../support/process-tree.ts'
import { waitFor } from '../support/wait-for.ts'

const ROWS = '#orders tr'

/** The temporary folder of the example. */
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-it-'))
  // As root, the Postgres of the example runs as another user.
  chmodSync(folder, 0o711)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the example of a page with a Zero client', () => {
  let browser: TestBrowser
  let example: Example
  let page: Page
  let database: string
  beforeAll(async () => {
    const started = [TestBrowser.start(), startExample()] as const
    await Promise.allSettled(started)
    browser = await started[0]
    example = await started[1]
    await example.says(/Ctrl-C/)
    database = /Postgres +psql '(\S+)'/.exec(example.output())![1]!
    page = await browser.open(/The page +(http:\S+)/.exec(example.output())![1]!)
  })
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    example?.child.kill('SIGKILL')
  })

  /** The texts of the rows, as they are now. */
  const rows = (): Promise<readonly string[]> =>
    page.$$eval(ROWS, (lines) => lines.map((line) => (line.textContent ?? '').replaceAll(/\s+/g, ' ')))
  const text = (id: string): Promise<string> => page.$eval(`#${id}`, (element) => element.textContent ?? '')

  it('shows the rows of the database', async () => {
    await waitFor('the page has the rows', async () => (await rows()).length === 7, 30_000)
    expect(await rows()).toContainEqual(expect.stringContaining('Grace Hopper'))
    expect(await text('connection')).toBe('connected')
    expect(await text('summary')).toBe('7 orders, 6 of them open')
  })

  it('changes as rows change in the database, without being loaded again', async () => {
    await page.evaluate('window.isTheSame = true')
    await sql(
      database,
      `BEGIN;
       UPDATE orders SET customer = 'Grace Murray Hopper', status = 'shipped', changed_at = clock_timestamp() WHERE id = 3;
       INSERT INTO orders (customer, coffee, bags, total) VALUES ('Zoë "Z" Müller', 'Kirinyaga', 9, 1234.50);
       DELETE FROM orders WHERE id = 1;
       COMMIT`,
    )
    await waitFor('the page shows the change', async () => (await rows())[0]?.includes('Kirinyaga') === true)
    const now = await rows()
    expect(now).toHaveLength(7)
    expect(now[0]).toBe('8Zoë "Z" MüllerKirinyaga91234.50 €new')
    expect(now.find((row) => row.includes('Hopper'))).toBe('3Grace Murray HopperHuehuetenango693.00 €shipped')
    expect(now.join()).not.toContain('Lovelace')
    expect(await text('delay')).toMatch(/^seen \d+ ms after it was written$/)
    expect(await page.evaluate('window.isTheSame')).toBe(true)
  })

  it('has buttons that change rows in the database only', async () => {
    await page.click('[data-statement=advance]')
    await waitFor('the statement shows', async () => (await text('statement')).startsWith('UPDATE orders'))
    expect(await text('statement')).toMatch(/-- 1 row$/)
    await waitFor('the page shows the order', async () => (await rows()).at(-1)?.endsWith('shipped') === true)
    expect(await sql(database, `SELECT status FROM orders WHERE id = 2`)).toEqual([{ status: 'shipped' }])
    await page.click('[data-statement=place]')
    await waitFor('a new order shows', async () => (await rows()).length === 8)
    await page.click('[data-statement=discount]')
    await waitFor('the discount shows', async () => (await rows())[1]?.includes('1111.05 €') === true)
    // Text takes room: without a font the page would be empty, and all else the same.
    expect(await page.$eval('h1', (title) => title.getBoundingClientRect().height)).toBeGreaterThan(20)
    await page.screenshot({ path: join(tmpdir(), 'sluice-zero-example.png') })
    await page.click('[data-statement=clear]')
    await waitFor('the shipped ones are gone', async () => (await rows()).length === 6)
  })

  it('logs no error in the browser', () => {
    expect(browser.complaints).toEqual([])
  })

  it('leaves nothing behind after Ctrl-C', async () => {
    await page.close()
    example.child.kill('SIGINT')
    expect(await example.ended).toBe(130)
    expect(readdirSync(folder).filter((name) => name.startsWith('sluice-zero-example'))).toEqual([])
    expect(processesIn(folder)).toEqual([])
  })
})

describe('mistakes', () => {
  it('names the port that is in use, and how to choose another', async () => {
    const port = await freePort()
    const server: Server = createServer().listen(port, '127.0.0.1')
    await once(server, 'listening')
    const example = await startExample({ PORT: String(port) })
    expect(await example.ended).toBe(1)
    expect(example.output()).toBe(
      `error: Port ${port} of 127.0.0.1 is in use. ` +
        `End what listens there, or choose another one: PORT=${port + 100} npm run example:zero\n`,
    )
    server.close()
  })

  it.each([
    ['@rocicorp/zero', 'Rocicorp Zero is not installed. Install it with `npm install @rocicorp/zero@1.9`.'],
    ['vite', 'Vite is not installed. Install what the example needs with `npm ci --include=dev`.'],
  ])('says how to install %s when it is missing', async (missing, message) => {
    const hook = `import { registerHooks } from 'node:module'
      registerHooks({ resolve(name, context, next) {
        if (name.startsWith('${missing}')) throw new Error('not here')
        return next(name, context)
      } })`
    const example = await startExample({
      NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(hook)}`,
    })
    expect(await example.ended).toBe(3)
    expect(example.output()).toBe(`error: ${message}\n`)
  })
})

interface Example {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  output(): string
  says(words: RegExp): Promise<void>
}

/** Starts what the npm script starts, on free ports. */
async function startExample(env: Readonly<Record<string, string>> = {}): Promise<Example> {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  const [program, ...args] = scripts['example:zero']!.split(' ')
  expect(program).toBe('node')
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TMPDIR: folder,
      PORT: String(await freePort()),
      ZERO_PORT: String(await freePort(1)),
      SLUICE_PORT: String(await freePort()),
      ...env,
    },
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  let isOver = false
  const ended = once(child, 'close').then(([code]) => {
    isOver = true
    return code as number | null
  })
  return {
    child,
    ended,
    output: () => output,
    says: async (words) => {
      await waitFor(`the example says ${words}`, () => isOver || words.test(output), 90_000)
      if (!words.test(output)) throw new Error(`The example ended early:\n${output}`)
    },
  }
}
