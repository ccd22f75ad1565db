import { Link as ThemeLink } from "@radix-ui/themes/components/link"
import Link from "next/link"
import type { ReactNode } from "react"
import styles from "./account.module.css"

/** Text link with client-side navigation. */
export function TextLink({ href, children }: { href: string; children: ReactNode }) {
  return (
    <ThemeLink asChild size="2" weight="medium" underline="always" className={styles.link}>
      <Link href={href}>{children}</Link>
    </ThemeLink>
  )
}
