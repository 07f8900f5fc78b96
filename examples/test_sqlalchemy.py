"""SQLAlchemy with PostgreSQL: a commit whose acknowledgement is lost, and connections that died in the pool.

Needs a PostgreSQL server, SQLAlchemy with asyncio, asyncpg and psycopg. DATABASE says where and who:
postgresql+psycopg://postgres@localhost:5432/postgres if it is not set.

    pytest examples/test_sqlalchemy.py               the naive code fails as expected, the hardened one passes
    pytest examples/test_sqlalchemy.py --runxfail    shows how the naive code fails
"""

import asyncio
import os
import uuid

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, func, make_url, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

import vaurien

DATABASE = make_url(os.environ.get("DATABASE", "postgresql+psycopg://postgres@localhost:5432/postgres"))

payments = Table(
    f"payments_{uuid.uuid4().hex}",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("customer", Text),
    Column("key", Text, unique=True),
)


async def pay_again(engine, customer, key):
    """It failed, so nothing was paid: begin anew. Is that so?"""
    for _ in range(3):
        try:
            async with engine.begin() as connection:
                await connection.execute(insert(payments).values(customer=customer))
            return
        except (TimeoutError, DBAPIError):
            continue


async def pay_once(engine, customer, key):
    """A commit without an answer may have happened. The key, made once per payment, tells the database."""
    for attempt in range(3):
        try:
            async with engine.begin() as connection:
                statement = insert(payments).values(customer=customer, key=key)
                await connection.execute(statement.on_conflict_do_nothing(index_elements=["key"]))
            return
        except (TimeoutError, DBAPIError):
            if attempt == 2:
                raise


def patient(url):
    """Waits for its answers. For ever: neither PostgreSQL nor the system sees anything wrong with the connection."""
    return create_async_engine(url, connect_args={"ssl": False})


def impatient(url):
    """Gives up. With psycopg that is not to be had: it has no time-out for an answer."""
    return create_async_engine(url, connect_args={"ssl": False, "command_timeout": 0.3})


def trusting(url):
    return create_engine(url)


def careful(url):
    """Asks a connection from the pool whether it still lives, before it is used."""
    return create_engine(url, pool_pre_ping=True)


@pytest.fixture
def proxy():
    with vaurien.Proxy(backend=f"{DATABASE.host}:{DATABASE.port or 5432}", protocol="postgres") as proxy:
        yield proxy


@pytest.fixture
def url(proxy):
    # sslmode, and ssl above: what is inside TLS cannot be told apart, and COMMIT has to be.
    return DATABASE.set(host=proxy.host, port=proxy.port).update_query_dict({"sslmode": "disable"})


@pytest.fixture
def async_url(proxy):
    return DATABASE.set(drivername="postgresql+asyncpg", host=proxy.host, port=proxy.port)


@pytest.fixture
def customer():
    engine = create_engine(DATABASE)
    payments.create(engine)
    yield str(uuid.uuid4())
    payments.drop(engine)
    engine.dispose()


def paid(engine, pay, customer):
    """How often *customer* has paid when *pay* is done."""

    async def shop():
        try:
            async with asyncio.timeout(2):
                await pay(engine, customer, key=str(uuid.uuid4()))
            async with engine.connect() as connection:
                return await connection.scalar(select(func.count()).where(payments.c.customer == customer))
        finally:
            await engine.dispose()

    return asyncio.run(shop())


# PostgreSQL commits. Then the connection ends before it can say so, or it stays, and the word is lost.
@pytest.mark.parametrize("fault", ["abort", "drop_response"])
@pytest.mark.parametrize(
    "pay", [pytest.param(pay_again, marks=pytest.mark.xfail(raises=AssertionError, strict=True)), pay_once]
)
def test_a_lost_acknowledgement_costs_nobody_twice(proxy, async_url, customer, pay, fault):
    with proxy.fault(fault, match={"query": "prefix:COMMIT"}, scope="exchange", window={"count": 1}):
        times = paid(impatient(async_url), pay, customer)
    assert proxy.hits(fault) == 1
    assert times == 1


@pytest.mark.parametrize(
    "connect", [pytest.param(patient, marks=pytest.mark.xfail(raises=TimeoutError, strict=True)), impatient]
)
def test_a_commit_without_an_answer_is_not_waited_for(proxy, async_url, customer, connect):
    with proxy.fault("drop_response", match={"query": "prefix:COMMIT"}, scope="exchange", window={"count": 1}):
        assert paid(connect(async_url), pay_once, customer) == 1


@pytest.mark.parametrize(
    "connect", [pytest.param(trusting, marks=pytest.mark.xfail(raises=OperationalError, strict=True)), careful]
)
def test_a_connection_that_died_in_the_pool_is_not_used(proxy, url, connect):
    engine = connect(url)
    with engine.connect() as connection:
        connection.execute(select(1))
    # The database was restarted, or a firewall forgot the connection.
    proxy.reset_connections()
    try:
        with engine.connect() as connection:
            assert connection.scalar(select(1)) == 1
    finally:
        engine.dispose()
