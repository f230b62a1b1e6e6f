/** The statements that the buttons of the page run in Postgres, by the name of the button. */
export const statements = {
  place: `
    INSERT INTO orders (customer, coffee, bags, total)
    SELECT (ARRAY['Ken Thompson', 'Frances Allen', 'Tony Hoare', 'Margaret Hamilton'])[1 + floor(random() * 4)],
           (ARRAY['Sidamo', 'Antigua', 'Nyeri', 'Yirgacheffe'])[1 + floor(random() * 4)], bags, bags * 14.50
    FROM (SELECT 1 + floor(random() * 6)::integer AS bags)`,
  advance: `
    UPDATE orders SET status = (enum_range(status, NULL))[2], changed_at = clock_timestamp()
    WHERE id = (SELECT id FROM orders WHERE status <> 'shipped' ORDER BY changed_at LIMIT 1)`,
  discount: `
    UPDATE orders SET total = round(total * 0.9, 2), changed_at = clock_timestamp() WHERE status <> 'shipped'`,
  clear: `
    DELETE FROM orders WHERE status = 'shipped'`,
} as const

export type StatementName = keyof typeof statements
