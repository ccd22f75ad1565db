import type { QueryClient } from "@tanstack/react-query"
import type { Api } from "@/api/client"
import type { Connection } from "@/api/connection"

/** The query cache and the API client of one user, which the modules of the data layer share. */
export type ApiContext = { client: QueryClient; api: Api; userId: string; connection: Connection }
