//! Structs of blocks: the flow's own, and one for each body of a `repeat` or `multiscale`.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::Ident;

use super::{assertions, construct, facts, Scope};
use crate::architecture::{Architecture, Base, Step, StepKind};

/// A field of a struct of blocks.
pub(super) struct Field {
    pub(super) name: Ident,
    pub(super) kind: TokenStream,
    /// Makes the block, given `builder`.
    pub(super) value: TokenStream,
}

/// All structs of a flow, each with its `Block` implementation.
pub(super) fn bodies(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let root = scope.root();
    let docs = format!("The blocks of [`{}`], in their order.", flow.header.name.unraw());
    let mut bodies =
        Bodies { scope, taken: HashSet::from([root.to_string()]), code: TokenStream::new() };
    bodies.body(&root, &docs, &flow.steps, Some(flow));
    bodies.code
}

pub(super) struct Bodies<'a> {
    pub(super) scope: &'a Scope<'a>,
    taken: HashSet<String>,
    code: TokenStream,
}

impl Bodies<'_> {
    /// Adds the struct of a nested body, and gives its type.
    pub(super) fn nested(
        &mut self,
        parent: &Ident,
        segments: &[String],
        steps: &[Step],
    ) -> TokenStream {
        let camel: String = segments.iter().map(|segment| camel_case(segment)).collect();
        let mut name = format!("{parent}{camel}");
        while !self.taken.insert(name.clone()) {
            name.push('X');
        }
        let name = Ident::new(&name, parent.span());
        let docs = format!("The blocks of `{}` in [`{parent}`].", segments.join("."));
        self.body(&name, &docs, steps, None);
        let Scope { arguments, e, .. } = self.scope;
        quote!(#name<#arguments #e>)
    }

    fn body(&mut self, name: &Ident, docs: &str, steps: &[Step], flow: Option<&Architecture>) {
        let mut fields = Vec::new();
        let names = field_names(steps);
        for (step, field) in steps.iter().zip(names) {
            fields.extend(construct::fields(self, name, step, field));
        }
        let block = block(self.scope, name, &fields);
        let Scope { header, krate, parameters, arguments, site, e, .. } = self.scope;
        let (visibility, everywhere) = (&header.visibility, self.scope.everywhere());
        let declared = &header.parameters;
        let (field_names, kinds): (Vec<_>, Vec<_>) =
            fields.iter().map(|field| (&field.name, &field.kind)).unzip();
        let values = fields.iter().map(|field| &field.value);
        let facts = facts::of_steps(self.scope, steps);
        let assertions = flow.map(|flow| assertions::associated(self.scope, flow));
        let new = quote_spanned! {*site=>
            fn make(
                builder: &mut #krate::Builder<#e>,
            ) -> ::core::result::Result<Self, #krate::FlowError> {
                ::core::result::Result::Ok(Self {
                    #(#field_names: #values?,)*
                    _scalar: ::core::marker::PhantomData,
                })
            }
        };
        self.code.extend(quote_spanned! {*site=>
            #[doc = #docs]
            #everywhere
            #visibility struct #name<#(#declared,)* #e: #krate::Scalar = f32> {
                #(#field_names: #kinds,)*
                _scalar: ::core::marker::PhantomData<fn() -> #e>,
            }

            #everywhere
            impl<#parameters #e: #krate::Scalar> #name<#arguments #e> {
                const FACTS: #krate::Facts = #facts;
                #assertions

                #new
            }

            #block
        });
    }
}

/// The label, or `item_` and the position; unique whatever the labels are.
fn field_names(steps: &[Step]) -> Vec<Ident> {
    let mut taken = HashSet::from(["_scalar".to_owned()]);
    steps
        .iter()
        .map(|step| {
            let mut name = match &step.label {
                Some(label) => label.unraw().to_string(),
                None => format!("item_{}", step.position),
            };
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            let span = step.label.as_ref().map_or(proc_macro2::Span::mixed_site(), Ident::span);
            match syn::parse_str::<Ident>(&name) {
                Ok(_) => Ident::new(&name, span),
                Err(_) => format_ident!("label_{}", name, span = span),
            }
        })
        .collect()
}

fn camel_case(segment: &str) -> String {
    let mut camel = String::new();
    for word in segment.split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_uppercase().to_string()));
        camel.push_str(letters.as_str());
    }
    // Two numbers in a row would run together.
    if camel.starts_with(|c: char| c.is_ascii_digit()) {
        format!("Item{camel}")
    } else {
        camel
    }
}

/// The passes call the blocks in order, or in reverse.
fn block(scope: &Scope<'_>, name: &Ident, fields: &[Field]) -> TokenStream {
    let Scope { krate, parameters, arguments, site, e, .. } = scope;
    let everywhere = scope.everywhere();
    let forth: Vec<&Ident> = fields.iter().map(|field| &field.name).collect();
    let back: Vec<&Ident> = forth.iter().rev().copied().collect();
    let result = quote!(::core::result::Result<(), #krate::FlowError>);
    let ok = quote!(::core::result::Result::Ok(()));
    quote_spanned! {*site=>
        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar> #krate::Block<#e> for #name<#arguments #e> {
            const COMPOSITE: bool = true;

            fn forward(
                &self,
                pass: &mut #krate::Pass<'_, #e>,
                x: &mut [#e],
                log_det: &mut [#e],
            ) -> #result {
                #(#krate::Pass::forward(pass, &self.#forth, x, log_det)?;)*
                #ok
            }

            fn inverse(
                &self,
                pass: &mut #krate::Pass<'_, #e>,
                z: &mut [#e],
                log_det: &mut [#e],
            ) -> #result {
                #(#krate::Pass::inverse(pass, &self.#back, z, log_det)?;)*
                #ok
            }

            fn forward_vjp(
                &self,
                pass: &mut #krate::Pass<'_, #e>,
                gradient: &mut [#e],
                log_det: &[#e],
            ) -> #result {
                #(#krate::Pass::forward_vjp(pass, &self.#back, gradient, log_det)?;)*
                #ok
            }

            fn inverse_vjp(
                &self,
                pass: &mut #krate::Pass<'_, #e>,
                gradient: &mut [#e],
                log_det: &[#e],
            ) -> #result {
                #(#krate::Pass::inverse_vjp(pass, &self.#forth, gradient, log_det)?;)*
                #ok
            }

            fn prepare(&self, values: &#krate::Values<#e>, derived: &mut [#e]) -> #result {
                #(#krate::Block::prepare(&self.#forth, values, derived)?;)*
                #ok
            }

            fn finish(
                &self,
                state: &#krate::State<#e>,
                derived_gradient: &[#e],
                gradient: &mut [#e],
            ) -> #result {
                #(#krate::Block::finish(&self.#forth, state, derived_gradient, gradient)?;)*
                #ok
            }

            fn initialize(&self, setup: &mut #krate::Setup<'_, #e>, x: &mut [#e]) -> #result {
                #(#krate::Setup::initialize(setup, &self.#forth, x)?;)*
                #ok
            }

            fn project(&self, values: &mut #krate::Values<#e>) {
                #(#krate::Block::project(&self.#forth, values);)*
            }

            fn facts(&self) -> #krate::Facts {
                Self::FACTS
            }

            fn amplification(
                &self,
                probe: &mut #krate::lipschitz::Probe<'_, #e>,
            ) -> ::core::result::Result<#krate::lipschitz::Amplification, #krate::FlowError> {
                let all = #krate::lipschitz::Amplification::ISOMETRY;
                if #krate::lipschitz::Probe::backwards(probe) {
                    #(let all = all.then(#krate::lipschitz::Probe::visit(probe, &self.#back)?);)*
                    return ::core::result::Result::Ok(all);
                }
                #(let all = all.then(#krate::lipschitz::Probe::visit(probe, &self.#forth)?);)*
                ::core::result::Result::Ok(all)
            }
        }
    }
}

/// `Architecture` for the struct of the flow's blocks, and `Invertible` where they are.
pub(super) fn architecture(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let Scope { header, krate, parameters, arguments, site, e, .. } = scope;
    let (root, everywhere) = (scope.root(), scope.everywhere());
    let (event, latent) = (scope.event(&header.event), scope.event(&flow.latent));
    let context = scope.context();
    let base = match &header.attributes.base {
        Base::Normal => quote!(Normal),
        Base::Uniform => quote!(Uniform),
        Base::Logistic => quote!(Logistic),
        Base::Mixture(components) => {
            let components = components.argument();
            quote!(Mixture<#components>)
        }
    };
    let name = header.name.unraw().to_string();
    let items = facts::items(scope, &flow.steps);
    let invertible = invertible(&flow.steps).then(|| {
        quote_spanned! {*site=>
            #everywhere
            #[automatically_derived]
            impl<#parameters #e: #krate::Scalar> #krate::Invertible for #root<#arguments #e> {}
        }
    });
    quote_spanned! {*site=>
        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar> #krate::Architecture<#e> for #root<#arguments #e> {
            type Event = #event;
            type Latent = #latent;
            type Context = #context;
            type Base = #krate::base::#base;
            type Double = #root<#arguments f64>;
            const NAME: &'static str = #name;
            const ITEMS: &'static [#krate::Item] = &[#(#items),*];

            fn new(
                builder: &mut #krate::Builder<#e>,
            ) -> ::core::result::Result<Self, #krate::FlowError> {
                let () = Self::ASSERTIONS;
                Self::make(builder)
            }
        }
        #invertible
    }
}

/// Whether no block that the macro knows is forward-only. What `use` names shows in the items.
fn invertible(steps: &[Step]) -> bool {
    steps.iter().all(|step| match &step.kind {
        StepKind::Block(block) => block.facts().invertible,
        _ => iterations(step).into_iter().all(invertible),
    })
}

/// A flow is a block of other flows.
pub(super) fn component(scope: &Scope<'_>, flow: &Architecture) -> TokenStream {
    let Scope { header, krate, parameters, arguments, site, e, b, f } = scope;
    let (name, root, everywhere) = (&header.name, scope.root(), scope.everywhere());
    let (input, output) = (scope.shape(&header.event), scope.shape(&flow.latent));
    let context = scope.context_size();
    quote_spanned! {*site=>
        #everywhere
        #[automatically_derived]
        impl<#parameters #e: #krate::Scalar, #f: #krate::Scalar, #b: #krate::Backend>
            #krate::Component<#f> for #name<#arguments #e, #b>
        {
            type Block = #root<#arguments #f>;
            type Arguments = ();
            const FACTS: #krate::Facts = #root::<#arguments #f>::FACTS;
            const INPUT: ::core::option::Option<#krate::Shape> =
                ::core::option::Option::Some(#input);
            const OUTPUT: ::core::option::Option<#krate::Shape> =
                ::core::option::Option::Some(#output);
            const CONTEXT: usize = #context;

            fn component(
                builder: &mut #krate::Builder<#f>,
                _: #krate::Site,
                (): (),
            ) -> ::core::result::Result<Self::Block, #krate::FlowError> {
                <#root<#arguments #f> as #krate::Architecture<#f>>::new(builder)
            }
        }
    }
}

/// The bodies inside a step.
pub(super) fn iterations(step: &Step) -> Vec<&[Step]> {
    match &step.kind {
        StepKind::Unrolled(iterations) => iterations.iter().map(Vec::as_slice).collect(),
        StepKind::Multiscale(levels) => levels.iter().map(|level| level.body.as_slice()).collect(),
        StepKind::Repeat { body, .. } => vec![body.as_slice()],
        _ => Vec::new(),
    }
}
