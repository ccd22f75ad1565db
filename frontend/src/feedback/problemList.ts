import { userMessage } from "@/api/errors"

export type Problem = { id: number; text: string; action: string; retry(): void }

/** Says that a change was refused, and offers to try it again, or what else `action` says. */
export type ReportProblem = (what: string, error: unknown, retry: () => void, action?: string) => void

/** The refused changes that have no field on the page any more. Each stays until the person has decided about it. */
export class ProblemList {
  #problems: readonly Problem[] = []
  #count = 0
  readonly #listeners = new Set<() => void>()

  readonly all = (): readonly Problem[] => this.#problems

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Two of the same words may be two changes: each is kept, the newest first. */
  readonly report: ReportProblem = (what, error, retry, action = "Try again") => {
    const problem = { id: (this.#count += 1), text: `${what} ${userMessage(error)}`, action, retry }
    this.#replace([problem, ...this.#problems])
  }

  readonly dismiss = (id: number): void =>
    this.#replace(this.#problems.filter((problem) => problem.id !== id))

  /** A change that is refused once more is reported anew, so it is here only once. */
  readonly retry = ({ id, retry }: Problem): void => {
    this.dismiss(id)
    retry()
  }

  #replace(problems: readonly Problem[]): void {
    this.#problems = problems
    this.#listeners.forEach((listener) => listener())
  }
}
