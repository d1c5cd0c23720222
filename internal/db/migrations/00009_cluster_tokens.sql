-- +goose Up
-- The token that scrapers of a cluster show its API server, sealed; empty for none.
ALTER TABLE clusters ADD COLUMN scraper_token TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE clusters DROP COLUMN scraper_token;
