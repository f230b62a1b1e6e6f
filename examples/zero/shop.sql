-- The database of the example: the orders of a coffee roastery.
CREATE TYPE order_status AS ENUM ('new', 'roasting', 'packed', 'shipped');

CREATE TABLE orders (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer text NOT NULL,
  coffee text NOT NULL,
  bags integer NOT NULL,
  total numeric(10,2) NOT NULL,
  status order_status NOT NULL DEFAULT 'new',
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO orders (customer, coffee, bags, total, status) VALUES
  ('Ada Lovelace', 'Sidamo', 2, 27.80, 'shipped'),
  ('Edgar Codd', 'Antigua', 1, 14.50, 'packed'),
  ('Grace Hopper', 'Huehuetenango', 6, 93.00, 'packed'),
  ('Alan Kay', 'Yirgacheffe', 3, 46.20, 'roasting'),
  ('Barbara Liskov', 'Nyeri', 1, 17.90, 'roasting'),
  ('Jim Gray', 'Sidamo', 4, 55.60, 'new'),
  ('Radia Perlman', 'Antigua', 2, 29.00, 'new');
