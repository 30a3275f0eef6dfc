//! What the test binaries share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use koalr_simulator::{Options, Simulator};
use serde_json::Value;

pub(crate) const CATEGORIES: [&str; 8] =
    ["triage", "live", "learning", "paused", "closed", "declined", "canceled", "merged"];
pub(crate) const MODES: [&str; 4] = ["standard", "retrospective", "test", "tutorial"];

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub(crate) fn unlimited(incidents: usize, seed: u64) -> Options {
    Options { limits: None, ..Options::new(incidents, seed, now()) }
}

/// The filters that leave nothing out.
pub(crate) fn everything() -> String {
    let categories = CATEGORIES.map(|category| format!("status_category%5Bone_of%5D={category}"));
    let modes = MODES.map(|mode| format!("mode[one_of]={mode}"));
    format!("{}&{}", categories.join("&"), modes.join("&"))
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client of one simulator with one key.
pub(crate) struct Client {
    base: String,
    key: Option<String>,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(simulator: &Simulator, key: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: simulator.base_url(), key: key.map(str::to_owned), http }
    }

    pub(crate) async fn send(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request.send().await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        let response = self.send(path).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Got { status, headers, body: response.json().await.unwrap() }
    }

    /// Every row of a paged list, page by page.
    pub(crate) async fn pages(&self, path: &str, page_size: usize) -> Vec<Value> {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let got = self.get(&format!("{path}{separator}page_size={page_size}{after}")).await;
            assert_eq!(got.status, 200, "{path}: {}", got.body);
            let next = got.body["pagination_meta"]["after"].as_str().map(str::to_owned);
            pages.push(got.body);
            match next {
                Some(next) => after = format!("&after={next}"),
                None => return pages,
            }
        }
    }

    pub(crate) async fn incidents(&self, query: &str) -> Vec<Value> {
        let pages = self.pages(&format!("/v2/incidents?{query}"), 250).await;
        pages.iter().flat_map(|page| page["incidents"].as_array().unwrap().clone()).collect()
    }
}

pub(crate) fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn set(rows: &[Value]) -> BTreeSet<String> {
    ids(rows).into_iter().collect()
}
