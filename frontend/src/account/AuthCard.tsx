import { Heading } from "@radix-ui/themes/components/heading"
import type { ReactNode } from "react"
import { CheckMark } from "@/ui/icons"
import styles from "./account.module.css"

type AuthCardProps = { title: string; children: ReactNode; footer?: ReactNode }

/** Centered card with a title: frame of the sign-in, sign-up, password and error pages. */
export function AuthCard({ title, children, footer }: AuthCardProps) {
  return (
    <main className={styles.page}>
      <div className={styles.mark}>
        <CheckMark size={44} />
      </div>
      <div className={`${styles.panel} ${styles.card}`}>
        <Heading as="h1" size="6" className={styles.title}>
          {title}
        </Heading>
        {children}
      </div>
      {footer && <p className={styles.footer}>{footer}</p>}
    </main>
  )
}
