import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const main = resolve('src/cli/main.ts')
const fixture = fileURLToPath(import.meta.resolve('./connectors.fixture.ts'))

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

describe.concurrent('sluice', () => {
  it('shows help and version', async () => {
    expect(await sluice()).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Usage: sluice <command>'),
    })
    expect(await sluice('run', '--help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('--once'),
    })
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
    expect(await sluice('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it.each([
    [['rn'], 'unknown command "rn", did you mean "run"?'],
    [['run'], 'run needs <config>'],
    [['run', 'a.yaml', 'b.yaml'], 'run does not take "b.yaml"'],
    [['run', 'a.yaml', '--jsno'], 'unknown option --jsno, did you mean --json?'],
    [
      ['run', 'a.yaml', '--log-level', 'inf'],
      '--log-level must be one of debug, info, warn, error, did you mean "info"?',
    ],
    [['run', 'a.yaml', '--log-level'], '--log-level needs a value'],
    [['--once'], 'unknown option --once'],
    [['run', 'nowhere.yaml'], 'nowhere.yaml does not exist'],
  ])('answers %j with exit code 2 and what is right', async (args, message) => {
    const { code, stdout, stderr } = await sluice(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr.split('\n')[0]).toBe(`error: ${message}`)
    expect(stderr).toContain('\n  fix: ')
  })

  it('lists the connectors', async () => {
    expect((await sluice('connectors')).stdout).toMatch(/sources\n(.*\n)* {2}postgres +\w/)
    const { code, stdout } = await sluice('connectors', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toContainEqual({
      type: 'memory',
      kind: 'sink',
      summary: expect.any(String),
      options: expect.arrayContaining([
        expect.objectContaining({ name: 'target', type: 'text', required: true }),
      ]),
    })
  })

  it('prints the JSON Schema, and is quiet when nobody reads it', async () => {
    const { code, stdout } = await sluice('schema')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toHaveProperty('$schema')
    expect(await exec('sh', ['-c', `"${process.execPath}" "${main}" schema | true`])).toMatchObject({
      stderr: '',
    })
  })

  it('lists every mistake of a config, without a stack trace', async () => {
    const path = write(
      'wrong.yaml',
      'name: shop\nsource: { type: memry }\nsinks: { main: { type: memory, targt: x } }\n',
    )
    const { code, stdout, stderr } = await sluice('run', path, '--json')
    expect(code).toBe(2)
    expect(stderr).toContain(`${path}:2:17 source.type: unknown source "memry", did you mean "memory"?`)
    expect(stderr).toContain(`${path}:3:32 sinks.main.targt: unknown option, did you mean "target"?`)
    expect(stderr).not.toContain('    at ')
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'error',
      code: 'config/invalid',
      mistakes: { length: 3 },
    })
  })

  it('runs a pipeline until it has caught up', async () => {
    const path = config('once.yaml', 'type: memory, database: a')
    const { code, stdout, stderr } = await sluice('run', path, '--once')
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: 'caught up: 0 rows copied, 0 changes in 0 transactions\n',
    })
    expect(stderr).not.toContain('\u001b')
  })

  it('writes one object per line with --json', async () => {
    const path = config('json.yaml', 'type: memory, database: a', 'log: { format: json }\ncheckpoint: {}')
    const { code, stdout, stderr } = await sluice('run', path, '--once', '--json')
    expect(code).toBe(0)
    const events = lines(stdout)
    expect(events[0]).toMatchObject({ event: 'status', pipeline: 'shop' })
    expect(events.at(-1)).toMatchObject({ event: 'end', reason: 'caught-up', drained: true })
    expect(lines(stderr)[0]).toMatchObject({ level: 'info', message: expect.any(String) })
    // The default of checkpoint.path, beside the config file.
    expect(existsSync(join(folder, '.sluice', 'shop.db'))).toBe(true)
  })

  it('ends cleanly at SIGTERM', async () => {
    const run = start(
      'run',
      config('stop.yaml', 'type: memory, database: a', 'checkpoint: { store: memory }'),
    )
    await run.saw('connected')
    run.child.kill('SIGTERM')
    expect(await run.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^stopped: /) })
  })

  it('ends at once at the second signal', async () => {
    const path = config('stuck.yaml', 'type: fixture', `connectors: [${fixture}]`, 'type: stuck')
    const run = start('run', path)
    await run.saw('connected')
    run.child.kill('SIGINT')
    await run.saw('a second signal ends at once')
    run.child.kill('SIGINT')
    expect(await run.ended).toMatchObject({ code: 130 })
  })

  it('checks: lists the tables when all is well', async () => {
    const path = config('fine.yaml', 'type: fixture', `connectors: [${fixture}]`)
    expect(await sluice('check', path)).toEqual({
      code: 0,
      stdout: 'ready: 1 table to replicate\n  public.orders  2 columns, key (id)\n',
      stderr: '',
    })
    expect(JSON.parse((await sluice('check', path, '--json')).stdout)).toMatchObject({
      ok: true,
      tables: [
        { table: 'public.orders', key: ['id'], columns: [{ name: 'id', type: 'bigint' }, { name: 'note' }] },
      ],
    })
  })

  it('checks: lists every problem with its fix', async () => {
    const path = config('refused.yaml', 'type: fixture, mode: refused', `connectors: [${fixture}]`)
    const { code, stdout, stderr } = await sluice('check', path)
    expect({ code, stdout }).toEqual({ code: 3, stdout: 'not ready: 2 problems to solve first\n' })
    expect(stderr).toBe(
      `error: wal_level is replica
  fix: Set it to logical.
  code: fixture/level
error: the role may not replicate
  fix: Grant REPLICATION.
  code: fixture/role
warning: the server is slow
  fix: Get a faster one.
  code: fixture/slow
`,
    )
    const json = await sluice('check', path, '--json')
    expect(json).toMatchObject({ code: 3, stderr: '' })
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, problems: { length: 3 }, tables: [] })
  })

  it('refuses to run with the same problems', async () => {
    const { code, stderr } = await sluice(
      'run',
      config('no.yaml', 'type: fixture, mode: refused', `connectors: [${fixture}]`),
    )
    expect(code).toBe(3)
    expect(stderr).toContain('error: 2 preconditions are not met\n')
    expect(stderr).toContain('error: the role may not replicate\n  fix: Grant REPLICATION.\n')
  })

  it.each([
    [
      'position-lost',
      5,
      'error: the log begins later\n  fix: Copy again.\n  code: fixture/position-lost',
      false,
    ],
    ['bug', 1, 'error: unexpected TypeError: a bug of the fixture', true],
  ])('shows %s with exit code %i', async (mode, expected, message, hasStack) => {
    const path = config(`${mode}.yaml`, `type: fixture, mode: ${mode}`, `connectors: [${fixture}]`)
    const { code, stderr } = await sluice('run', path)
    expect(code).toBe(expected)
    expect(stderr).toContain(message)
    expect(stderr.includes('connectors.fixture.ts:')).toBe(hasStack)
  })

  it('says which package is not installed', async () => {
    const { code, stderr } = await sluice(
      'run',
      config('driver.yaml', 'type: driverless', `connectors: [${fixture}]`),
    )
    expect(code).toBe(2)
    expect(stderr).toContain(
      'the connector "driverless" needs the package @acme/driver\n  fix: Install it: npm install @acme/driver\n',
    )
  })

  it('finds connectors in the packages beside the config file', async () => {
    write('node_modules/@acme/kit/package.json', '{"name":"@acme/kit","exports":{"import":"./main.mjs"}}')
    write('node_modules/@acme/kit/main.mjs', `export { sources, sinks } from '${fixture}'`)
    const path = config('package.yaml', 'type: fixture', "connectors: ['@acme/kit']")
    expect(await sluice('check', path)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('public.orders'),
    })
    const schema = await sluice('schema', path)
    expect(JSON.parse(schema.stdout)).toHaveProperty(['$defs', 'source.fixture'])
  })
})

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function sluice(...args: readonly string[]): Promise<Ended> {
  return start(...args).ended
}

function start(...args: readonly string[]) {
  return follow(spawn(process.execPath, [main, ...args], { cwd: folder, env: { PATH: process.env['PATH'] } }))
}

function exec(command: string, args: readonly string[]): Promise<Ended> {
  return follow(spawn(command, args, { cwd: folder })).ended
}

function follow(child: ChildProcess) {
  let stdout = ''
  let stderr = ''
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Ended>((done) => {
    child.on('close', (code) => done({ code, stdout, stderr }))
  })
  /** Resolves when the text has appeared on stderr; rejects when the process ended without it. */
  const saw = (text: string): Promise<void> =>
    new Promise((done, fail) => {
      const look = () => stderr.includes(text) && done()
      child.stderr!.on('data', look)
      child.on('close', () => fail(new Error(`ended without "${text}": ${stderr}`)))
      look()
    })
  return { child, ended, saw }
}

function config(name: string, source: string, rest = '', sink = 'type: memory, target: b'): string {
  const checkpoint = rest.includes('checkpoint') ? '' : `checkpoint: { path: ${name}.db }\n`
  return write(
    name,
    `name: shop\nsource: { ${source} }\nsinks: { main: { ${sink} } }\n${checkpoint}${rest}\n`,
  )
}

function write(name: string, text: string): string {
  const path = join(folder, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}

function lines(text: string): readonly unknown[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}
