#!/usr/bin/env node
/** The command line: reads arguments, calls one command, turns errors into text and an exit code. */
import { readFileSync } from 'node:fs'
import { toCoreError } from '../core/error.ts'
import { exitCodeOf, exitCodes } from '../runtime/policy.ts'
import { type Invocation, parseArguments } from './arguments.ts'
import { helpText } from './help.ts'
import { errorObject, reportError } from './report.ts'
import { Terminal } from './terminal.ts'

async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const invocation = parseArguments(args)
  switch (invocation.kind) {
    case 'help':
      terminal.print(helpText(invocation.command))
      return exitCodes.ok
    case 'version':
      terminal.print(version())
      return exitCodes.ok
    case 'command':
      return await dispatch(invocation, terminal)
  }
}

/** Commands are imported when they are called: help and mistakes answer at once. */
async function dispatch(
  { command, positionals, options, rest }: Extract<Invocation, { kind: 'command' }>,
  terminal: Terminal,
): Promise<number> {
  const [config] = positionals
  const json = options['json'] === true
  const once = options['once'] === true
  const level = options['log-level']
  const logLevel = typeof level === 'string' ? level : null
  const load = async () => (await import('../runtime/config/load.ts')).loadConfig(config!)
  switch (command) {
    case 'run': {
      const { run } = await import('./run.ts')
      return run({ load, json, once, logLevel }, terminal)
    }
    case 'check':
      return (await import('./check.ts')).check({ load, json }, terminal)
    case 'verify':
    case 'repair':
      return (await import('./verify.ts')).verify({ command, config: config!, options }, terminal)
    case 'zero-source': {
      const { zeroSource } = await import('./zero-source.ts')
      const how = { check: options['check'] === true, printConfig: options['print-config'] === true }
      return zeroSource({ json, once, logLevel, ...how }, terminal)
    }
    case 'connectors':
      return (await import('./connectors.ts')).listConnectors({ json }, terminal)
    case 'schema':
      return (await import('./connectors.ts')).printSchema({ config: config ?? null }, terminal)
    case 'types':
      return (await import('./types.ts')).printTypes({ schema: config! }, terminal)
    case 'demo':
      return (await import('./demo/demo.ts')).runDemo(rest)
  }
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

// The reader of a pipe may leave early (`sluice schema | head`); that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(exitCodes.ok)
})

// A driver that waits for something without a timer or a socket must not end the process half-way.
const alive = setInterval(() => {}, 2 ** 30)
const args = process.argv.slice(2)
const terminal = new Terminal(process.stdout, process.stderr, process.env)
try {
  process.exitCode = await main(args, terminal)
} catch (thrown) {
  const error = toCoreError(thrown)
  reportError(terminal, error)
  if (args.includes('--json')) terminal.print(JSON.stringify({ event: 'error', ...errorObject(error) }))
  process.exitCode = exitCodeOf(error)
}
clearInterval(alive)
// Something that a driver left open must not keep a finished process alive.
setTimeout(() => process.exit(), 1000).unref()
