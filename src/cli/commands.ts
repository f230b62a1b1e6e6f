/** Every command with its options: the parser, the help and the suggestions read this. */
import { variables } from './zero-source-variables.ts'

export interface CommandOption {
  readonly type: 'boolean' | 'string'
  readonly summary: string
  /** Shown in the help after the name. */
  readonly value?: string
  readonly choices?: readonly string[]
}

export interface Command {
  /** Positional arguments; a `?` at the end makes one optional. */
  readonly positionals: readonly string[]
  readonly summary: string
  readonly options: Readonly<Record<string, CommandOption>>
  /** Arguments are not looked at here but handed on as they are. */
  readonly raw?: boolean
  /** Environment variables that it reads. */
  readonly variables?: readonly { readonly name: string; readonly summary: string }[]
}

const json: CommandOption = {
  type: 'boolean',
  summary: 'Machine-readable output on stdout; everything else on stderr.',
}

const once: CommandOption = {
  type: 'boolean',
  summary: 'Stop when everything that is there now is replicated.',
}

const logLevel: CommandOption = {
  type: 'string',
  value: 'level',
  choices: ['debug', 'info', 'warn', 'error'],
  summary: 'Overrides log.level of the config.',
}

/** What a comparison takes. */
const comparison = {
  json,
  tables: {
    type: 'string',
    value: 'patterns',
    summary: 'Only these tables: patterns as in a config, with commas between them.',
  },
  sink: { type: 'string', value: 'name', summary: 'The sink to compare with, when there are several.' },
  sample: {
    type: 'string',
    value: 'part',
    summary: 'Compare a random part of the key ranges, such as 5% or 0.05.',
  },
  seed: { type: 'string', value: 'number', summary: 'Chooses the same ranges as an earlier sample.' },
  timeout: {
    type: 'string',
    value: 'duration',
    summary: 'How long the pipeline may take to write what the source has; 60s when left out.',
  },
  'show-values': { type: 'boolean', summary: 'Show some of the differences with keys and values.' },
} as const satisfies Readonly<Record<string, CommandOption>>

export const commands = {
  run: {
    positionals: ['config'],
    summary: 'Run the pipeline of a config file until it is stopped.',
    options: { json, once, 'log-level': logLevel },
  },
  check: {
    positionals: ['config'],
    summary: 'Connect, find every problem, and list the tables; moves nothing.',
    options: { json },
  },
  verify: {
    positionals: ['config'],
    summary: 'Compare source and sink row by row, also while the pipeline runs; changes nothing.',
    options: comparison,
  },
  repair: {
    positionals: ['config'],
    summary: 'Compare, write the rows that differ again, and compare those again.',
    options: comparison,
  },
  'zero-source': {
    positionals: [],
    summary: 'Run a pipeline from MongoDB to Zero that environment variables describe.',
    options: {
      check: { type: 'boolean', summary: 'Only what `sluice check` does.' },
      'print-config': {
        type: 'boolean',
        summary: 'Print the config file that does the same, with ${VARIABLES} for secrets.',
      },
      json,
      once,
      'log-level': logLevel,
    },
    variables,
  },
  connectors: { positionals: [], summary: 'List the sources and sinks.', options: { json } },
  schema: {
    positionals: ['config?'],
    summary: 'Print the JSON Schema of config files, with the connectors that a config brings.',
    options: {},
  },
  types: {
    positionals: ['schema'],
    summary: 'Print TypeScript types for the rows of a schema file.',
    options: {},
  },
  demo: {
    positionals: [],
    summary: 'Replicate between real servers that are started for it.',
    options: {},
    raw: true,
  },
} as const satisfies Readonly<Record<string, Command>>

export type CommandName = keyof typeof commands

export const globalOptions: Readonly<Record<string, CommandOption>> = {
  help: { type: 'boolean', summary: 'Show help; after a command, help for it.' },
  version: { type: 'boolean', summary: 'Show the version.' },
}

export const shortOptions: Readonly<Record<string, string>> = { h: 'help', V: 'version' }
