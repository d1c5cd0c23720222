-- +goose Up
-- A provisioned board that people may change as well is brought up to date only
-- when its file changes: provision_sum is that of the text it was made from.
ALTER TABLE dash_boards ADD COLUMN provision_sum TEXT NOT NULL DEFAULT '';
ALTER TABLE dash_boards ADD COLUMN provision_editable BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE dash_boards DROP COLUMN provision_editable;
ALTER TABLE dash_boards DROP COLUMN provision_sum;
