/** Milliseconds until a new notice is due for other processes; the process that ended the session sends it immediately. */
const DELIVERY_DELAY = 2000
/** Milliseconds that a notice is kept longer: clocks differ, and a request in progress can sign a token after the sign-out. */
const CLOCK_MARGIN = 60_000

/** Name of the trigger, and of its function on PostgreSQL. */
export const TRIGGER_NAME = "record_ended_session"

/**
 * Return the statement that creates the SQLite trigger; see `postgresqlTrigger`.
 *
 * Better Auth stores `expiresAt` as ISO 8601 text. `coalesce` treats text that is not a date as now, because `min` with a
 * NULL is NULL.
 */
export function sqliteTrigger(tokenLifetime: number): string {
  const now = "cast((julianday('now') - 2440587.5) * 86400000 as integer)"
  const expires = "cast((julianday(old.expiresAt) - 2440587.5) * 86400000 as integer)"
  return `create trigger ${TRIGGER_NAME} after delete on "session" begin
  insert into logout_notice (sid, sub, attempts, next_at, forget_at)
  select old.id, old.userId, 0, now + ${DELIVERY_DELAY}, last_token + ${CLOCK_MARGIN}
  from (select now, min(now, coalesce(expires, now)) + ${tokenLifetime * 1000} as last_token
    from (select ${now} as now, ${expires} as expires))
  where last_token > now
  on conflict (sid) do nothing;
end`
}

/**
 * Return the statement that creates the PostgreSQL function of the trigger that records every deleted session in
 * `logout_notice`, in the transaction of the deletion: neither can be committed without the other.
 *
 * It runs for every way in which a session row is deleted: each endpoint of Better Auth, its cleanup of expired
 * sessions, the cascade from a deleted user, and statements typed by hand. A session whose last token has expired
 * (`tokenLifetime` seconds after the end of the session) needs no notice.
 */
export function postgresqlTrigger(tokenLifetime: number): string {
  return `create or replace function ${TRIGGER_NAME}() returns trigger language plpgsql as $$
declare
  now_ms bigint := floor(extract(epoch from clock_timestamp()) * 1000);
  last_token bigint := least(now_ms, floor(extract(epoch from old."expiresAt") * 1000)) + ${tokenLifetime * 1000};
begin
  if last_token > now_ms then
    insert into logout_notice (sid, sub, attempts, next_at, forget_at)
    values (old.id, old."userId", 0, now_ms + ${DELIVERY_DELAY}, last_token + ${CLOCK_MARGIN})
    on conflict (sid) do nothing;
  end if;
  return null;
end $$`
}
