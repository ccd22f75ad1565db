import { Text } from "@radix-ui/themes/components/text"
import * as TextField from "@radix-ui/themes/components/text-field"
import { useId, type ComponentProps, type ReactNode } from "react"
import styles from "./form.module.css"

/** Attributes that connect a control with its label, hint and error for screen readers. */
export type FieldProps = {
  id: string
  "aria-invalid": true | undefined
  "aria-describedby": string | undefined
}

type FieldFrameProps = {
  label: string
  error?: string | undefined
  hint?: string | undefined
  children: (props: FieldProps) => ReactNode
}

/** Label, control, error and hint. `children` renders the control with the given attributes. */
export function Field({ label, error, hint, children }: FieldFrameProps) {
  const id = useId()
  const describedBy = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ")
  return (
    <div className={styles.field}>
      <Text as="label" size="2" weight="medium" htmlFor={id}>
        {label}
      </Text>
      {children({
        id,
        "aria-invalid": error ? true : undefined,
        "aria-describedby": describedBy || undefined,
      })}
      {error && <FieldError id={`${id}-error`}>{error}</FieldError>}
      {hint && (
        <Text as="p" size="1" color="gray" id={`${id}-hint`}>
          {hint}
        </Text>
      )}
    </div>
  )
}

/** Error message below a control. */
export function FieldError({ id, children }: { id: string; children: ReactNode }) {
  return (
    <Text as="p" size="2" color="red" id={id}>
      {children}
    </Text>
  )
}

type TextFieldProps = Omit<ComponentProps<typeof TextField.Root>, "children" | "id"> & {
  label: string
  error?: string | undefined
  hint?: string | undefined
}

/** Text field with label, error and hint. */
export function LabeledTextField({ label, error, hint, ...input }: TextFieldProps) {
  return (
    <Field label={label} error={error} hint={hint}>
      {(field) => <TextField.Root size="3" {...input} {...field} />}
    </Field>
  )
}
