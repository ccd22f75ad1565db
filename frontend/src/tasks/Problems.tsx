"use client"

import * as Callout from "@radix-ui/themes/components/callout"
import { Button } from "@radix-ui/themes/components/button"
import { createContext, useContext, useState, type ReactNode } from "react"
import { sentence } from "@/api/problem"
import styles from "./tasks.module.css"

type Problem = { id: number; text: string; retry(): void }
type Report = (what: string, error: unknown, retry: () => void) => void

const ReportProblem = createContext<Report>(() => undefined)

/** For a change that was refused and has no field on the page to say so beside. */
export function useReportProblem(): Report {
  return useContext(ReportProblem)
}

let count = 0

export function Problems({ children }: { children: ReactNode }) {
  const [problems, setProblems] = useState<Problem[]>([])
  const [report] = useState(() => (what: string, error: unknown, retry: () => void) => {
    const problem = { id: (count += 1), text: `${what} ${sentence(error)}`, retry }
    setProblems((earlier) => [...earlier.filter(({ text }) => text !== problem.text), problem].slice(-3))
  })
  const dismiss = (id: number) => setProblems((all) => all.filter((problem) => problem.id !== id))
  return (
    <ReportProblem value={report}>
      {children}
      {problems.length > 0 && (
        <div className={styles.problems}>
          {problems.map(({ id, text, retry }) => (
            <Callout.Root key={id} color="red" size="1" role="alert" className={styles.problem ?? ""}>
              <Callout.Text size="2">{text}</Callout.Text>
              <div className={styles.problemActions}>
                <Button
                  size="2"
                  variant="soft"
                  onClick={() => {
                    dismiss(id)
                    retry()
                  }}
                >
                  Try again
                </Button>
                <Button
                  size="2"
                  variant="soft"
                  color="gray"
                  className={styles.plain ?? ""}
                  onClick={() => dismiss(id)}
                >
                  Dismiss
                </Button>
              </div>
            </Callout.Root>
          ))}
        </div>
      )}
    </ReportProblem>
  )
}
