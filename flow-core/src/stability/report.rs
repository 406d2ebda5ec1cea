//! What an examination found.

use serde::{Deserialize, Serialize};

use super::{Observed, Spread};
use crate::{FlowError, Result};

/// How stable a flow is on data.
///
/// As text it is an aligned table; [`to_json`](Self::to_json) is for programs, and
/// [`draw`](Self::draw) makes a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The flow's name.
    pub flow: String,
    /// One sample: `Vector<2>`.
    pub event: String,
    /// The flow's numbers: `f32` or `f64`.
    pub scalar: String,
    /// Rows of data.
    pub rows: usize,
    /// Data to latents and back.
    pub data: Reconstruction,
    /// Samples of the base distribution to data and back.
    pub latent: Reconstruction,
    /// The Jacobian of the forward direction on data.
    pub jacobian: Conditioning,
    /// The largest amplification seen.
    pub observed: Observed,
    /// Bounds that hold for certain, where they were [attached](Self::with_certified).
    pub certified: Option<Certified>,
}

/// How far rows are from where they began after a way there and back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    /// The Euclidean distance of each row to where it began: after one pass there and back, after
    /// two, and so on.
    pub passes: Vec<Spread>,
    /// The first row that a block refused, and why.
    pub failure: Option<String>,
}

/// Singular values of the Jacobian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditioning {
    /// How they were computed.
    pub method: Method,
    /// The largest of each row.
    pub largest: Spread,
    /// The smallest of each row.
    pub smallest: Spread,
    /// The largest over the smallest of each row.
    pub condition: Spread,
    /// Rows whose smallest singular value is below what the flow's precision resolves beside the
    /// largest: their condition number is only known to be large.
    pub unresolved: usize,
    /// The distance of the flow's own log-determinant to the sum of the logarithms of all singular
    /// values; none where only the extreme ones were computed.
    pub log_det: Option<Spread>,
}

/// How singular values are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// All of them, from a Jacobian of exact vector-Jacobian products, with an error of about
    /// n·ε·σ_max.
    Full,
    /// The largest of either direction's Jacobian after so many steps of the process of Golub and
    /// Kahan. Both are lower bounds but for rounding, so the smallest singular value is an upper
    /// bound.
    Lanczos(usize),
}

/// Bounds of a flow's amplification that hold for certain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// The natural logarithm of the forward direction's bound; none where there is no finite one.
    pub ln_forward: Option<f64>,
    /// The natural logarithm of the inverse's bound; none where there is no finite one.
    pub ln_inverse: Option<f64>,
    /// Where they hold, in words.
    pub scope: String,
}

impl Report {
    /// The same report with certified bounds beside the observed ones.
    ///
    /// ```
    /// # use dfdx::prelude::*;
    /// # use flow_core::prelude::*;
    /// use flow_core::stability::{self, Certified};
    /// # flow! { struct Turn: Vector<2> { linear(orthogonal); } }
    /// # let flow = Turn::<f64>::build(&Cpu::default(), 0)?;
    /// # let data = Rows::from_rows([[0.0, 1.0]])?;
    /// let report = stability::report(&flow, &data)?.with_certified(Certified {
    ///     ln_forward: Some(0.0),
    ///     ln_inverse: Some(0.0),
    ///     scope: "everywhere".into(),
    /// });
    /// assert!(report.to_string().contains("everywhere"));
    /// # Ok::<(), FlowError>(())
    /// ```
    #[must_use]
    pub fn with_certified(mut self, certified: Certified) -> Self {
        self.certified = Some(certified);
        self
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// None that is known: all that is not finite is counted, never a number of the report.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| damaged(&error))
    }

    /// The report that [`to_json`](Self::to_json) wrote; numbers may differ in the last bit.
    ///
    /// # Errors
    /// [`FlowError::Option`] for any other text, or where a reconstruction has no passes.
    pub fn from_json(text: &str) -> Result<Self> {
        let report: Self = serde_json::from_str(text).map_err(|error| damaged(&error))?;
        for (name, reconstruction) in [("data", &report.data), ("latent", &report.latent)] {
            if reconstruction.passes.is_empty() {
                return Err(damaged(&format_args!("no pass in `{name}`")));
            }
        }
        Ok(report)
    }
}

fn damaged(error: &impl ToString) -> FlowError {
    FlowError::option("the JSON of a report", error.to_string(), "what `to_json` writes")
}

impl Reconstruction {
    /// The errors after one pass there and back.
    ///
    /// # Panics
    /// Where there are no [`passes`](Self::passes), which no report has.
    pub fn once(&self) -> &Spread {
        &self.passes[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconstruction_without_passes_is_no_report() {
        let spread = || Spread::of(&[1.0, 2.0]);
        let way = || Reconstruction { passes: vec![spread()], failure: None };
        let report = Report {
            flow: "Flow".into(),
            event: "Vector<1>".into(),
            scalar: "f64".into(),
            rows: 2,
            data: way(),
            latent: way(),
            jacobian: Conditioning {
                method: Method::Full,
                largest: spread(),
                smallest: spread(),
                condition: spread(),
                unresolved: 0,
                log_det: None,
            },
            observed: Observed { forward: None, inverse: None },
            certified: None,
        };
        assert_eq!(Report::from_json(&report.to_json().unwrap()).as_ref(), Ok(&report));
        for name in ["data", "latent"] {
            let mut json: serde_json::Value =
                serde_json::from_str(&report.to_json().unwrap()).unwrap();
            json[name]["passes"] = serde_json::json!([]);
            let error = Report::from_json(&json.to_string()).unwrap_err().to_string();
            assert!(error.contains(&format!("is no pass in `{name}`, expected")), "{error}");
        }
    }
}
