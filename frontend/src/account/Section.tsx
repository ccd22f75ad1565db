import { Heading } from "@radix-ui/themes/components/heading"
import { Text } from "@radix-ui/themes/components/text"
import { useId, type ReactNode } from "react"
import styles from "./account.module.css"

type SectionProps = { title: string; description: string; children: ReactNode }

/** Panel of the account page with a heading and a description. */
export function Section({ title, description, children }: SectionProps) {
  const id = useId()
  return (
    <section className={styles.panel} aria-labelledby={id}>
      <Heading as="h2" size="4" id={id}>
        {title}
      </Heading>
      <Text as="p" size="2" color="gray" className={styles.description}>
        {description}
      </Text>
      {children}
    </section>
  )
}
