//! Parts of Tern that are off unless asked for, by the names of Prometheus' `--enable-feature`.

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub experimental_functions: bool,
    pub duration_expressions: bool,
    pub extended_range_selectors: bool,
    pub fill_modifiers: bool,
    pub delayed_name_removal: bool,
    pub search: bool,
}

type Switch = fn(&mut Features) -> &mut bool;

const SWITCHES: [(&str, Switch); 6] = [
    ("promql-experimental-functions", |features| &mut features.experimental_functions),
    ("promql-duration-expr", |features| &mut features.duration_expressions),
    ("promql-extended-range-selectors", |features| &mut features.extended_range_selectors),
    ("promql-binop-fill-modifiers", |features| &mut features.fill_modifiers),
    ("promql-delayed-name-removal", |features| &mut features.delayed_name_removal),
    ("search-api", |features| &mut features.search),
];

impl Features {
    /// Names separated by commas.
    pub fn parse(text: &str) -> Result<Features, String> {
        let mut features = Features::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let (_, switch) = SWITCHES.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name))?;
            *switch(&mut features) = true;
        }
        Ok(features)
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = SWITCHES.iter().map(|(name, _)| *name).collect();
    format!("no feature is called {name:?}; there are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_named_as_upstream_names_them() {
        assert_eq!(Features::parse(""), Ok(Features::default()));
        let two = Features { search: true, duration_expressions: true, ..Features::default() };
        assert_eq!(Features::parse("search-api, promql-duration-expr"), Ok(two));
        let error = Features::parse("search").expect_err("unknown");
        assert!(error.contains("\"search\"") && error.contains("search-api"), "{error}");
    }
}
