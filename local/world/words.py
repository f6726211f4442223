"""Names, places and texts that an organisation's rows are made of."""

from typing import Final

FIRST_NAMES: Final = (
    "Anna", "Björn", "Chloé", "Dmitri", "Eszter", "François", "Grażyna", "Håkon", "Íris", "José", "Kwame", "Łukasz",
    "María", "Nguyễn", "Oğuz", "Priya", "Renée", "Şule", "Tomás", "Ümit", "Väinö", "Wei", "Željko", "明美", "Владимир",
    "Ελένη", "Noor", "Ruth", "Samuel", "Theo",
)  # fmt: skip
LAST_NAMES: Final = (
    "Müller", "O'Brien", "Sørensen", "García Márquez", "van den Berg", "Kovács", "Çelik", "Nowak", "Håkansson",
    "D'Angelo", "Smith-Jones", "Ivanov", "山田", "Πετρίδης", "Ní Bhriain", "Lefèvre", "Schmidt", "Rossi", "Dvořák",
    "Żukowski", "Mbeki", "Tanaka", "Wu", "Østergaard", "McDonald",
)  # fmt: skip
SALUTATIONS: Final = ("Ms.", "Mr.", "Dr.", "Frau", "Señora", None, None)
JOBS: Final = (
    "Head of Purchasing", "Geschäftsführerin", "Plant Manager", "Director, R&D", "Ingénieur en chef", "CFO",
    "Maintenance <night shift>", "Owner", 'Buyer "C" parts', None,
)  # fmt: skip
DEPARTMENTS: Final = ("Purchasing", "Forschung & Entwicklung", "Production", "Finance", None)
COMPANY_STARTS: Final = (
    "Nordwind", "Blue Ridge", "Société", "Alpen", "Pacific", "Grün & Söhne", "Łódź", "São Paulo", "Åkerlund", "東京",
    "Kirkwall", "Mátra", "Delta", "Żubr", "Smith, Smith & Co.",
)  # fmt: skip
COMPANY_MIDDLES: Final = ("Robotics", "Packaging", "Sensorik", "Logistique", "Foods", "Tooling", "Energy", "Optics")
COMPANY_ENDS: Final = ("GmbH", "Ltd.", "S.A.", "AB", "Inc.", "Sp. z o.o.", "K.K.", "Kft.")
STREETS: Final = ("Hafenstraße 12", "221B Baker Street", "Rue de l'Église 4", "ul. Długa 7/3", "Calle Mayor 1", None)
BUILDINGS: Final = ("Building C", "2. Hof, Aufgang 3", "c/o Wagner", None, None, None)
PLACES: Final = (
    ("Hamburg", "HH", "20095", "Germany"),
    ("Zürich", "ZH", "8001", "Switzerland"),
    ("Montréal", "QC", "H2Y 1C6", "Canada"),
    ("Kraków", None, "31-042", "Poland"),
    ("東京都", None, "100-0001", "Japan"),
    ("Leeds", "West Yorkshire", "LS1 4DY", "United Kingdom"),
    (None, None, None, None),
)
PROJECTS: Final = (
    "Palletising line", "Sensor retrofit", "Förderband Halle 3", "Cold store", "Inspection cell", "Chaîne n° 2",
    "Spare parts 2026", "Pilot: vision system",
)  # fmt: skip
STEPS: Final = ("1-Qualify", "2-Develop", "3-Propose", "4-Close", "Vertrag prüfen", None)
NOTES: Final = (
    "Met at the trade fair.\nAsked for a quotation; call again in spring.",
    'Prefers e-mail. Says: "no calls before 10".',
    "Größerer Umbau geplant, Budget offen; Ansprechpartner wechselt.",
    "💡 wants a demo 🤖",
    None,
    None,
)
#: Names of connection roles with their category; two are longer than Marketo's 50 characters.
ROLES: Final = (
    ("Decision Maker", 1000),
    ("Influencer", 1000),
    ("Technical Buyer", 1000),
    ("Einkäufer/in", 1000),
    ("Stakeholder", 1000),
    ("Executive sponsor of the whole digital transformation programme", 1000),
    ("Economic buyer for all plants in Europe, Africa and the Middle East", 1000),
    ("Champion", 1000),
)
#: The roles that the other ends play: users in the sales team, accounts, and the opportunity itself.
SALES_TEAM_ROLE: Final = ("Account Manager", 1001)
OWN_ROLE: Final = ("Deal", 4)
