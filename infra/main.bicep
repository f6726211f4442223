// Everything that msisync runs on, in a resource group of its own: `azd up` makes it, `azd down` takes it away.
// What cannot be made here (the Marketo API user, the Dynamics application user) is in docs/first-day.md.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the azd environment; part of the resource group\'s name, and of the hash in the other names.')
param environmentName string

@minLength(1)
@description('Azure region. It must offer Flex Consumption: az functionapp list-flexconsumption-locations')
@metadata({ azd: { type: 'location' } })
param location string

@minLength(8)
@description('The Dataverse environment, https://<org>.crm<n>.dynamics.com')
param dataverseUrl string

@description('Who signs in to Dynamics: an app registration with a secret, its user with a password, a certificate, or the app\'s own identity.')
@allowed(['client_secret', 'password', 'certificate', 'managed_identity'])
param dataverseAuth string = 'client_secret'

@minLength(8)
@description('Marketo\'s REST address, https://<munchkin id>.mktorest.com')
param marketoUrl string

@minLength(1)
@description('Client id of Marketo\'s custom service (Admin > LaunchPoint). Its secret goes into the Key Vault.')
param marketoClientId string

@description('The other app settings, by name; the defaults are in main.parameters.json.')
param settings object

@description('Who hears of alerts. Empty: nobody.')
param alertEmail string = ''

@description('Who operates msisync from outside (the person or pipeline that runs azd). Empty: nobody.')
param principalId string = ''

@allowed(['User', 'ServicePrincipal'])
param principalType string = 'User'

@description('Python of the function app: 3.11, 3.12 or 3.13.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Memory of an instance. The app needs under 200 MB (docs/figures.md); 2048 brings a whole core.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances of each function; see app.bicep for why this is no matter of Marketo\'s limits.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that are kept ready, as function=count with commas, http for the webhook; see docs/limits-and-costs.md. Empty: none.')
param alwaysReady string = ''

@description('Queues that are not Active, as name=status with commas: infra/operate.py notes them, so that a pause outlasts a deployment.')
param queueStatuses string = ''

@description('Redundancy of the storage account: Standard_LRS where the region has no zones.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Storage and Key Vault without public addresses. Operators then work from inside the network.')
param privateNetwork bool = false

@description('Whether the Key Vault has notify-url, the address that is told of the end of a long run (NOTIFY_URL).')
param notify bool = false

@description('Client id of the app registration that people sign in to the console with (docs/console.md). Empty: the app serves no console.')
param consoleClientId string = ''

@description('The part of the traces that is kept, 0 to 1, as text; metrics and logs are always kept.')
param tracesKept string = '1'

@description('Most telemetry a day in GB, as text: a bound for the bill, not for the sync.')
param telemetryDailyGb string = '1'

var tags = { 'azd-env-name': environmentName, app: 'msisync' }
var token = toLower(uniqueString(subscription().id, environmentName, location))
var operator = empty(principalId) ? [] : [{ id: principalId, type: principalType }]

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-msisync-${environmentName}'
  location: location
  tags: tags
}

module identity 'br/public:avm/res/managed-identity/user-assigned-identity:0.6.0' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-msisync-${token}'
    location: location
    tags: tags
    enableTelemetry: false
  }
}

module network 'network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module telemetry 'telemetry.bicep' = {
  name: 'telemetry'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    dailyGb: telemetryDailyGb
    appPrincipalId: identity.outputs.principalId
  }
}

module bus 'bus.bicep' = {
  name: 'bus'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    appPrincipalId: identity.outputs.principalId
    operators: operator
    servesConsole: !empty(consoleClientId)
    queueStatuses: queueStatuses
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    sku: storageSku
    tables: [settings.PARKED_TABLE, settings.STATE_TABLE]
    endpointSubnetId: network.?outputs.endpointSubnetId ?? ''
    blobZoneId: network.?outputs.blobZoneId ?? ''
    tableZoneId: network.?outputs.tableZoneId ?? ''
    appPrincipalId: identity.outputs.principalId
    operators: operator
  }
}

module vault 'vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    endpointSubnetId: network.?outputs.endpointSubnetId ?? ''
    zoneId: network.?outputs.vaultZoneId ?? ''
    appPrincipalId: identity.outputs.principalId
    operators: operator
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    identityId: identity.outputs.resourceId
    identityClientId: identity.outputs.clientId
    insightsConnectionString: telemetry.outputs.connectionString
    tracesKept: tracesKept
    serviceBusHost: bus.outputs.host
    queueSettings: bus.outputs.queueSettings
    storageEndpoints: storage.outputs.endpoints
    packageContainer: storage.outputs.packageContainer
    vaultUri: vault.outputs.uri
    subnetId: network.?outputs.appSubnetId ?? ''
    dataverseUrl: dataverseUrl
    dataverseAuth: dataverseAuth
    marketoUrl: marketoUrl
    marketoClientId: marketoClientId
    notify: notify
    consoleClientId: consoleClientId
    settings: settings
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReady: alwaysReady
  }
}

module monitoring 'monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    workspaceId: telemetry.outputs.workspaceId
    applicationInsightsId: telemetry.outputs.applicationInsightsId
    serviceBusNamespaceId: bus.outputs.namespaceId
    functionAppId: app.outputs.id
    alertEmail: alertEmail
    deadLetterQueue: bus.outputs.queueSettings.DEAD_LETTER_QUEUE
  }
}

// Into .azure/<environment>/.env; infra/operate.py reads them.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output IDENTITY_CLIENT_ID string = identity.outputs.clientId
output KEY_VAULT_NAME string = vault.outputs.name
output SERVICE_BUS_NAMESPACE string = bus.outputs.name
output SERVICE_BUS_HOST string = bus.outputs.host
output STORAGE_TABLE_URI string = storage.outputs.endpoints.table
output DATAVERSE_AUTH string = dataverseAuth
output DATAVERSE_URL string = dataverseUrl
output MARKETO_URL string = marketoUrl
output MARKETO_CLIENT_ID string = marketoClientId
