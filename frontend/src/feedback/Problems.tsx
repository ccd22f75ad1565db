"use client"

import * as Callout from "@radix-ui/themes/components/callout"
import { Button } from "@radix-ui/themes/components/button"
import { createContext, useContext, useSyncExternalStore, type ReactNode } from "react"
import { useServices } from "@/data/ServicesProvider"
import styles from "./feedback.module.css"
import { ProblemList, type Problem, type ReportProblem } from "./problemList"

const ReportContext = createContext<ReportProblem>(() => undefined)

/** Return a function that reports a rejected change whose form is no longer on the page. */
export function useReportProblem(): ReportProblem {
  return useContext(ReportContext)
}

/** One list for each user's services, so that problems remain after a client-side navigation to another page. */
const LISTS = new WeakMap<object, ProblemList>()
const NO_PROBLEMS: readonly Problem[] = []

/** Return the problem list that belongs to the current services. */
function useProblemList(): ProblemList {
  const services = useServices()
  const list = LISTS.get(services) ?? new ProblemList()
  LISTS.set(services, list)
  return list
}

/** Provider of `useReportProblem`; renders the reported problems as alerts over the page. */
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
                  className={styles.grayButton ?? ""}
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
