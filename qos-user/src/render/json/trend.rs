//! The fields of a row that only the service knows.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use crate::{
    render::text::rfc3339,
    snapshot::{
        Hook,
        rates::Rate,
        trend::{Beside, Row},
    },
};

/// What is remembered of a row.
#[derive(Serialize)]
pub struct TrendDocument {
    rates: Rates,
    /// When it last moved; null: not since the service looks.
    last_moved: Option<String>,
    peak: Option<Peak>,
}

/// Packets and bits a second; null where there is one sample alone.
#[derive(Serialize)]
struct Rates {
    #[serde(rename = "1m")]
    minute: Option<Rate>,
    #[serde(rename = "5m")]
    five_minutes: Option<Rate>,
}

#[derive(Serialize)]
struct Peak {
    #[serde(flatten)]
    rate: Rate,
    time: String,
}

/// What is remembered of the rows of a hook, if anything is.
pub struct Trends<'a>(Option<Beside<'a>>);

impl<'a> Trends<'a> {
    /// Those of a hook, as of the time of the document.
    pub fn of(hook: &'a Hook, time: SystemTime) -> Self {
        Self(hook.trend.as_ref().and_then(|trend| trend.beside(hook, time)))
    }

    /// Those of a row.
    pub fn row(&self, row: &Row) -> Option<TrendDocument> {
        let trend = self.0.as_ref()?.row(row);
        Some(TrendDocument {
            rates: Rates { minute: trend.minute, five_minutes: trend.five_minutes },
            last_moved: trend.last_moved.map(rfc3339),
            peak: trend.peak.map(|(rate, at)| Peak { rate, time: rfc3339(at) }),
        })
    }

    /// Adds those of a row to its document.
    pub fn add(&self, row: &Row, document: &mut Value) {
        if let Some((document, Ok(Value::Object(trend)))) =
            document.as_object_mut().zip(self.row(row).map(serde_json::to_value))
        {
            document.extend(trend);
        }
    }
}
