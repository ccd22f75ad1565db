"use client"

import * as Callout from "@radix-ui/themes/components/callout"
import { Button } from "@radix-ui/themes/components/button"
import { createContext, useContext, useSyncExternalStore, type ReactNode } from "react"
import { useServices } from "@/data/ServicesProvider"
import { ProblemList, type Problem, type ReportProblem } from "./problemList"
import styles from "./feedback.module.css"

const ReportContext = createContext<ReportProblem>(() => undefined)

/** For a change that was refused and has no field on the page to say so beside. */
export function useReportProblem(): ReportProblem {
  return useContext(ReportContext)
}

/** A change may be refused when the person has gone on to another page: what is reported goes along. */
const lists = new WeakMap<object, ProblemList>()
const NO_PROBLEMS: readonly Problem[] = []

function useProblemList(): ProblemList {
  const services = useServices()
  const list = lists.get(services) ?? new ProblemList()
  lists.set(services, list)
  return list
}

export function Problems({ children }: { children: ReactNode }) {
  const list = useProblemList()
  const problems = useSyncExternalStore(list.subscribe, list.all, () => NO_PROBLEMS)
  return (
    <ReportContext value={list.report}>
      {children}
      {problems.length > 0 && (
        <div className={styles.problems}>
          {problems.map((problem) => (
            <Callout.Root key={problem.id} color="red" size="1" role="alert" className={styles.problem ?? ""}>
              <Callout.Text size="2">{problem.text}</Callout.Text>
              <div className={styles.problemActions}>
                <Button size="2" variant="soft" onClick={() => list.retry(problem)}>
                  {problem.action}
                </Button>
                <Button
                  size="2"
                  variant="soft"
                  color="gray"
                  className={styles.plain ?? ""}
                  onClick={() => list.dismiss(problem.id)}
                >
                  Dismiss
                </Button>
              </div>
            </Callout.Root>
          ))}
        </div>
      )}
    </ReportContext>
  )
}
