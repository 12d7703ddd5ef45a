"""What goes over the wire, once for reading, checking and documenting it.

Requests refuse unknown fields; ``__post_init__`` applies the grammars that types cannot
say. Answers are written by the database (``services/wire.py``): their schemas here
document them, and the tests hold the two together.
"""

from standart.api.schemas.adjustments import (
    Adjustment,
    AdjustmentPage,
    CreateAdjustment,
    ListAdjustments,
    OneAdjustment,
)
from standart.api.schemas.balance import Balances, CurrencyBalance, ReadBalance
from standart.api.schemas.common import (
    FieldProblem,
    Health,
    NoQuery,
    OfUser,
    Problem,
    Reply,
    Request,
)
from standart.api.schemas.endpoints import (
    CreateEndpoint,
    DeletedEndpoint,
    Endpoint,
    EndpointPage,
    EndpointWithSecret,
    ListEndpoints,
    NoBody,
    UpdateEndpoint,
)
from standart.api.schemas.events import (
    Attempt,
    Delivery,
    Event,
    EventBody,
    EventFeed,
    EventPage,
    ListEvents,
    WebhookBody,
)
from standart.api.schemas.fees import Calculation, CommissionPreview, PreviewCommission
from standart.api.schemas.late_payments import RecordLatePayment
from standart.api.schemas.notes import CreateNote, ListNotes, Note, NotePage
from standart.api.schemas.payouts import (
    CompletePayout,
    CreatePayout,
    ListPayouts,
    OnePayout,
    Payout,
    PayoutDestination,
    PayoutPage,
    RejectPayout,
)
from standart.api.schemas.refunds import (
    CheckRefund,
    CreateRefund,
    ListRefunds,
    Refund,
    RefundPage,
)
from standart.api.schemas.transactions import (
    AppliedFee,
    CancelTransaction,
    CheckTransaction,
    ConfirmTransaction,
    CreateTransaction,
    ListTransactions,
    Transaction,
    TransactionPage,
)

__all__ = [
    "Adjustment",
    "AdjustmentPage",
    "AppliedFee",
    "Attempt",
    "Balances",
    "Calculation",
    "CancelTransaction",
    "CheckRefund",
    "CheckTransaction",
    "CommissionPreview",
    "CompletePayout",
    "ConfirmTransaction",
    "CreateAdjustment",
    "CreateEndpoint",
    "CreateNote",
    "CreatePayout",
    "CreateRefund",
    "CreateTransaction",
    "CurrencyBalance",
    "DeletedEndpoint",
    "Delivery",
    "Endpoint",
    "EndpointPage",
    "EndpointWithSecret",
    "Event",
    "EventBody",
    "EventFeed",
    "EventPage",
    "FieldProblem",
    "Health",
    "ListAdjustments",
    "ListEndpoints",
    "ListEvents",
    "ListNotes",
    "ListPayouts",
    "ListRefunds",
    "ListTransactions",
    "NoBody",
    "NoQuery",
    "Note",
    "NotePage",
    "OfUser",
    "OneAdjustment",
    "OnePayout",
    "Payout",
    "PayoutDestination",
    "PayoutPage",
    "PreviewCommission",
    "Problem",
    "ReadBalance",
    "RecordLatePayment",
    "Refund",
    "RefundPage",
    "RejectPayout",
    "Reply",
    "Request",
    "Transaction",
    "TransactionPage",
    "UpdateEndpoint",
    "WebhookBody",
]
