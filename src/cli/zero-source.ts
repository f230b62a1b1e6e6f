import { stringify } from 'yaml'
import { check } from './check.ts'
import { run } from './run.ts'
import type { Terminal } from './terminal.ts'
import { processEnvironment, zeroSourceConfig, zeroSourceTemplate } from './zero-source-config.ts'

export interface ZeroSourceArguments {
  readonly json: boolean
  readonly once: boolean
  readonly logLevel: string | null
  readonly check: boolean
  readonly printConfig: boolean
}

/** MongoDB to Zero, configured by the environment variables of the earlier server. */
export async function zeroSource(
  { json, once, logLevel, check: isCheck, printConfig }: ZeroSourceArguments,
  terminal: Terminal,
): Promise<number> {
  if (printConfig) {
    const template = stringify(await zeroSourceTemplate(processEnvironment))
    terminal.print(`# Its paths are as seen from ${process.cwd()}.\n${template.trimEnd()}`)
    return 0
  }
  const load = () => zeroSourceConfig(processEnvironment)
  return isCheck ? check({ load, json }, terminal) : run({ load, json, once, logLevel }, terminal)
}
