//! How things look: tables, JSON, CSV, Prometheus text. Pure: no clock, no terminal.
