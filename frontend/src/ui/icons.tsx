import type { ReactNode } from "react"

/** Outline icon of `size` pixels that is hidden from screen readers; `children` are its SVG paths. */
function Icon({ children, size = 18 }: { children: ReactNode; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.9"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  )
}

export function PlusIcon() {
  return (
    <Icon>
      <path d="M12 5v14M5 12h14" />
    </Icon>
  )
}

export function SearchIcon() {
  return (
    <Icon size={16}>
      <circle cx="11" cy="11" r="6.5" />
      <path d="m20 20-4.2-4.2" />
    </Icon>
  )
}

export function TrashIcon() {
  return (
    <Icon size={17}>
      <path d="M4.5 6.5h15M9.5 6V4.5h5V6M6.5 6.5l.8 13h9.4l.8-13M10.3 10.5v5.5M13.7 10.5v5.5" />
    </Icon>
  )
}

export function ChevronIcon() {
  return (
    <Icon size={17}>
      <path d="m6 9.5 6 6 6-6" />
    </Icon>
  )
}

export function RepeatIcon() {
  return (
    <Icon size={13}>
      <path d="m17 3 3 3-3 3M20 6H8a4 4 0 0 0-4 4v1M7 21l-3-3 3-3M4 18h12a4 4 0 0 0 4-4v-1" />
    </Icon>
  )
}

export function CalendarIcon() {
  return (
    <Icon size={13}>
      <path d="M4.5 6.5h15v13h-15zM4.5 10.5h15M8.5 4v4M15.5 4v4" />
    </Icon>
  )
}

export function NoteIcon() {
  return (
    <Icon size={13}>
      <path d="M5 7h14M5 12h14M5 17h8" />
    </Icon>
  )
}

export function BackIcon() {
  return (
    <Icon size={16}>
      <path d="m14.5 6-6 6 6 6" />
    </Icon>
  )
}

export function PersonIcon() {
  return (
    <Icon>
      <circle cx="12" cy="8.5" r="3.5" />
      <path d="M5 20c.8-3.8 3.5-5.5 7-5.5s6.2 1.7 7 5.5" />
    </Icon>
  )
}

export function CheckMark({ size }: { size: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" fill="var(--accent-9)" />
      <path
        d="m9.5 16.5 4.5 4.5 8.5-9.5"
        fill="none"
        stroke="white"
        strokeWidth="3.2"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  )
}
